// The subscriptions and the messages of the benchmark, computed from numbers, so that they are the same in every process.
import { createHash } from "node:crypto";

/** The handlers of this instance. The rest of the fleet, which Redis knows too, has as many more. */
export const HANDLERS = 10_000;
export const SUBSCRIPTIONS = 100_000;
const PER_HANDLER = SUBSCRIPTIONS / HANDLERS;
/** One of so many messages is for this instance. */
const SHARE = 100;

export const handlerName = (handler) => `handler-${handler}`;
export const handlerOf = (subscription) => Math.floor(subscription / PER_HANDLER);

export function subscriptionName(subscription) {
  const hex = createHash("md5").update(String(subscription)).digest("hex");
  const uuid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return `${uuid.join("-")}:posts`;
}

/** The names of the subscriptions of this instance, and after them those of the others. */
export const subscriptionNames = (count) => Array.from({ length: count }, (_, i) => subscriptionName(i));

/** The subscription that the message of this number is for. */
export function subscriptionOf(message) {
  const local = message % SHARE === 0;
  const turn = (local ? message / SHARE : message) * 7_919; // A prime, so that each subscription has its turn, and neighbours are far apart.
  return (turn % SUBSCRIPTIONS) + (local ? 0 : SUBSCRIPTIONS);
}

/** The number of messages for this instance among the first `messages`. */
export const dueOf = (messages) => Math.ceil(messages / SHARE);

const body = "What has changed is a row of some columns, as applications have them: about so long.";

/** About 300 bytes, in the framework's form. */
export const messageText = (message, subscription) =>
  `{"type":"changed","subscriptionId":"${subscription}","event":{"type":"changed","object":{"id":${message},"title":"Post ${message}","body":"${body}","published":true}}}`;
