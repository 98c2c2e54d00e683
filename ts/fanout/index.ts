import { checkFunction, invalid, object, reading, text } from "../arguments.js";
import { getGlobalKV } from "../global.js";
import { known } from "../options.js";
import { emitWarning } from "../warning.js";
import type { AggregateWatcher, DeliverEvent, FanoutStats } from "./engine.js";
import { fanout } from "./thread.js";

export type { AggregateWatcher, DeliverEvent, FanoutStats, StreamStats } from "./engine.js";

/** An event for a subscription, wherever its stream is open. */
export interface FanoutEvent {
  type: "added" | "changed" | "removed" | "invalidate";
  /** Of the form `<uuid>:<resource>`. */
  subscriptionId: string;
  /** The event for the stream: any JSON value. */
  event: unknown;
}

/** The options of {@link registerHandler}. */
export interface HandlerOptions {
  /** Unregisters the handler when it is aborted. */
  signal?: AbortSignal;
}

const TYPES: readonly unknown[] = ["added", "changed", "removed", "invalidate"];

/** Checks the name of a handler, a subscription or a resource, which must not be empty. */
function name(value: unknown, what: string, method: string): string {
  const given = text(what).check(value, method);
  if (given === "") throw invalid(`${method}: ${what} must not be empty`);
  return given;
}

/**
 * Delivers events of other instances to the handlers of this process, through the global store. The fan-out follows when that store
 * is replaced. May be called again: resolves once the channels that handlers and watchers need are live. Without handlers and
 * watchers nothing is subscribed.
 *
 * Rejects with `CONFIG` while there is no store; with the error of the server, such as `NOPERM`, or `TIMEOUT`, if a channel cannot
 * be subscribed. It is tried again nevertheless.
 *
 * @example
 * setGlobalKV(await createKV({ type: "redis", redis: { url } }));
 * await initializeEventSubscription();
 */
export async function initializeEventSubscription(): Promise<void> {
  getGlobalKV();
  await fanout().start();
}

/**
 * Registers an open stream. `deliver` gets the events of the subscriptions that are tracked for it, each as JSON, in order. After
 * messages may have been missed, it gets `{"type":"invalidate","reason":"fanout-gap"}`. In place of events that a full queue dropped,
 * it gets the reason `overflow`. At both the stream must read its state again. An error of `deliver` becomes a warning.
 *
 * Replaces a handler with this id, in any worker thread, and gets its subscriptions. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * const heard: string[] = [];
 * registerHandler("stream-1", (event) => heard.push(event));
 * trackSubscription("stream-1", "1f0c:posts");
 * await publishEvent({ type: "added", subscriptionId: "1f0c:posts", event: { id: 7 } }); // true
 * heard; // ['{"id":7}']
 */
export function registerHandler(
  handlerId: string,
  deliver: DeliverEvent,
  options: HandlerOptions = {},
): void {
  const method = "registerHandler";
  const signal = reading(method, () => {
    name(handlerId, "handlerId", method);
    checkFunction(deliver, "deliver", method);
    const { signal } = known(options, ["signal"], "options", { method });
    if (signal === undefined) return undefined;
    if (!isSignal(signal)) throw invalid(`${method}: options.signal must be an AbortSignal`);
    return signal;
  });
  fanout().register(handlerId, deliver, signal);
}

/** By its methods: the environment of a test may have its own class. */
function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}

/**
 * Removes a handler with all its subscriptions. Does nothing if there is none. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * unregisterHandler("stream-1");
 * getActiveHandlerCount(); // 0
 */
export function unregisterHandler(handlerId: string): void {
  fanout().unregister(name(handlerId, "handlerId", "unregisterHandler"));
}

/**
 * Delivers the events of a subscription to a handler of this process. A subscription belongs to one handler: another handler loses it,
 * and the first time in a process a warning (`COVARA_KV_SUBSCRIPTION`) reports that. Throws `INVALID_ARGUMENT` if there is no such
 * handler.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * trackSubscription("stream-1", "1f0c:posts");
 * getFanoutStats().subscriptions; // 1
 */
export function trackSubscription(handlerId: string, subscriptionId: string): void {
  const method = "trackSubscription";
  name(handlerId, "handlerId", method);
  name(subscriptionId, "subscriptionId", method);
  switch (fanout().track(handlerId, subscriptionId)) {
    case 0:
      throw invalid(`${method}: this process has no handler of this id: registerHandler comes first`);
    case 2:
      emitWarning(
        `${method}: a subscriptionId belongs to one handler, and another one had it, which gets its events no more: give each stream ids of its own`,
        "COVARA_KV_SUBSCRIPTION",
      );
  }
}

/**
 * Ends the delivery that {@link trackSubscription} began. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * trackSubscription("stream-1", "1f0c:posts");
 * untrackSubscription("1f0c:posts");
 * getFanoutStats().subscriptions; // 0
 */
export function untrackSubscription(subscriptionId: string): void {
  fanout().untrack(name(subscriptionId, "subscriptionId", "untrackSubscription"));
}

/**
 * Sends an event to the handler of its subscription: directly if that is in this process, in any worker thread, else by PUBLISH.
 * Resolves to whether it reached the handler, or an instance that may have it. Rejects with `INVALID_ARGUMENT`, and with `CONFIG` if
 * it must be published and there is no store. Else rejects with the error of PUBLISH.
 *
 * @example
 * setGlobalKV(kv);
 * await publishEvent({ type: "changed", subscriptionId: "1f0c:posts", event: { id: 7 } }); // false
 */
export async function publishEvent(message: FanoutEvent): Promise<boolean> {
  const method = "publishEvent";
  const { type, subscriptionId, event } = reading(method, () => {
    const { type, subscriptionId, event } = object(message, "message", method);
    if (!TYPES.includes(type)) throw invalid(`${method}: type must be one of ${TYPES.join(", ")}`);
    return {
      type,
      subscriptionId: name(subscriptionId, "subscriptionId", method),
      event: JSON.stringify(event) as string | undefined,
    };
  });
  if (event === undefined) throw invalid(`${method}: event must be something that JSON can hold`);
  const isHere = fanout().publish(subscriptionId, event);
  if (isHere !== false) return isHere;
  return fanout().send(
    `{"type":"${type}","subscriptionId":${JSON.stringify(subscriptionId)},"event":${event}}`,
  );
}

/**
 * Calls `watcher` whenever a resource has changed: with the rows for a notification in this thread, else without them, also after
 * changes may have been missed. Returns a function that ends it. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * setGlobalKV(kv);
 * const changes: unknown[] = [];
 * const stop = registerAggregateWatcher("posts", (changed) => changes.push(changed));
 * await notifyAggregateWatchers("posts", [{ id: 7 }]);
 * stop();
 * changes; // [[{ id: 7 }]]
 */
export function registerAggregateWatcher(resource: string, watcher: AggregateWatcher): () => void {
  const method = "registerAggregateWatcher";
  name(resource, "resource", method);
  checkFunction(watcher, "watcher", method);
  return fanout().watch(resource, watcher);
}

/**
 * Notifies the watchers of a resource of a change: those of this thread at once, with the rows, the others by PUBLISH. Resolves when
 * that is done. Rejects with `INVALID_ARGUMENT`; with `CONFIG` if there is no store; with the error of PUBLISH. The watchers of this
 * thread were called nevertheless.
 *
 * @example
 * setGlobalKV(kv);
 * let calls = 0;
 * registerAggregateWatcher("posts", () => {
 *   calls += 1;
 * });
 * await notifyAggregateWatchers("posts");
 * calls; // 1
 */
export async function notifyAggregateWatchers(resource: string, changed?: unknown[]): Promise<void> {
  const method = "notifyAggregateWatchers";
  name(resource, "resource", method);
  if (changed !== undefined && !Array.isArray(changed)) throw invalid(`${method}: changed must be an array`);
  await fanout().notify(resource, changed);
}

/**
 * The number of handlers of this process, in all threads.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * getActiveHandlerCount(); // 1
 */
export function getActiveHandlerCount(): number {
  return fanout().stats().handlers;
}

/**
 * The number of watchers of this process, of one resource or of all. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerAggregateWatcher("posts", () => {});
 * getAggregateWatcherCount("posts"); // 1
 * getAggregateWatcherCount("users"); // 0
 */
export function getAggregateWatcherCount(resource?: string): number {
  return fanout().watcherCount(
    resource === undefined ? undefined : name(resource, "resource", "getAggregateWatcherCount"),
  );
}

/**
 * The counts of the fan-out of this process, in all threads.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * const { handlers, subscriptions } = getFanoutStats();
 * [handlers, subscriptions]; // [1, 0]
 */
export function getFanoutStats(): FanoutStats {
  return fanout().stats();
}
