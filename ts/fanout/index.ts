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
  /** What the stream gets: anything that JSON can hold. */
  event: unknown;
}

/** What {@link registerHandler} may be told beside the function. */
export interface HandlerOptions {
  /** Unregisters the handler when it is aborted. */
  signal?: AbortSignal;
}

const TYPES: readonly unknown[] = ["added", "changed", "removed", "invalidate"];

/** The names of handlers, subscriptions and resources: none is empty. */
function name(value: unknown, what: string, method: string): string {
  const given = text(what).check(value, method);
  if (given === "") throw invalid(`${method}: ${what} must not be empty`);
  return given;
}

/**
 * Lets events that are published on other instances reach the handlers of this process, by way of the
 * process's store; if that becomes another, the fan-out follows. May be called again: resolves once what the
 * handlers and watchers that there are need is subscribed. Without any nothing is.
 *
 * Rejects with `CONFIG` while there is no store; with what the server answers, such as `NOPERM`, or `TIMEOUT`,
 * if it cannot be subscribed; it is tried again nevertheless.
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
 * Registers an open stream. `deliver` gets the events of the subscriptions that are tracked for it, each as JSON, in
 * their order. It also gets `{"type":"invalidate","reason":"fanout-gap"}` after messages may have been missed, and with
 * the reason `overflow` in place of events that came faster than they were taken: then what the subscription shows is
 * to be read again. What `deliver` throws becomes a warning.
 *
 * A handler of this id that there is already, in any worker thread, makes room for the new one, which gets its
 * subscriptions. Throws `INVALID_ARGUMENT`.
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

/** By what it has: a test's environment may have a class of its own. */
function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}

/**
 * Takes a handler away, with all its subscriptions. Does nothing if there is none. Throws `INVALID_ARGUMENT`.
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
 * Has the events of a subscription delivered to a handler of this process. A subscription belongs to one handler: one that another had is its no
 * longer, and the first time that this happens in a process a warning (`COVARA_KV_SUBSCRIPTION`) tells. Throws `INVALID_ARGUMENT` if there is no
 * such handler.
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
 * Ends what {@link trackSubscription} began. Throws `INVALID_ARGUMENT`.
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
 * Hands an event to the handler of its subscription: at once if that is in this process, in any worker thread, else by
 * PUBLISH. Resolves to whether anyone was reached: the handler, or an instance that may have it. Rejects with
 * `INVALID_ARGUMENT`; with `CONFIG` if it must be published and there is no store; with what PUBLISH fails with.
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
 * Has `watcher` called whenever a resource has changed: with the rows if that was said in this thread, else without, also after
 * changes may have been missed. Gives the function that ends it. Throws `INVALID_ARGUMENT`.
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
 * Tells the watchers of a resource that it has changed: those of this thread at once and with the rows, the others by
 * PUBLISH. Resolves when that is done. Rejects with `INVALID_ARGUMENT`; with `CONFIG` if there is no store; with what
 * PUBLISH fails with. Watchers here have been told all the same.
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
 * How many handlers this process has, in all its threads.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * getActiveHandlerCount(); // 1
 */
export function getActiveHandlerCount(): number {
  return fanout().stats().handlers;
}

/**
 * How many watchers this process has, of one resource or of all. Throws `INVALID_ARGUMENT`.
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
 * What the fan-out of this process, in all its threads, has and has done.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * const { handlers, subscriptions } = getFanoutStats();
 * [handlers, subscriptions]; // [1, 0]
 */
export function getFanoutStats(): FanoutStats {
  return fanout().stats();
}
