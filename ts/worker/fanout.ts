// The fan-out in a Worker, in place of the Rust one.
import type { KVAdapter } from "../adapter.js";
import { calling } from "../emitter.js";
import { KVError } from "../errors.js";
import { CHANNEL_OF } from "../fanout/channels.js";
import type { AggregateWatcher, DeliverEvent, Engine, FanoutStats } from "../fanout/engine.js";
import { warnOfHandler, warnOfWatcher } from "../fanout/warnings.js";
import { currentKV, getGlobalKV, onGlobalChange } from "../global.js";
import { now, setTimeout } from "../timers.js";
import { HandlerSubscription, type Subscriber } from "./handler-subscription.js";
import { readAggregate, readEvent } from "./message.js";

const GAP = '{"type":"invalidate","reason":"fanout-gap"}';

/** How long `start` waits for subscriptions, and how often it checks them, in ms. */
const TIMEOUT_MS = 5_000;
const LOOK_AFTER = 5;

interface IsolateHandler extends Subscriber {
  readonly id: string;
  readonly subscriptions: Set<string>;
  /** Removes its listener from the abort signal. */
  release(): void;
}

interface IsolateWatcher extends Subscriber {
  readonly resource: string;
}

/** The handlers and watchers of an isolate. They reach those of another request only through the store. */
class IsolateFanout implements Engine {
  readonly #handlers = new Map<string, IsolateHandler>();
  /** The handler of each subscription. */
  readonly #owners = new Map<string, IsolateHandler>();
  readonly #watchers = new Set<IsolateWatcher>();
  readonly #subscribers = new Map<Subscriber, HandlerSubscription>();
  /** Stores with our listeners of `ready` and `end`. */
  readonly #known = new WeakSet<KVAdapter>();
  #toldTakenOver = false;
  readonly #counts = { seen: 0, delivered: 0, notLocal: 0, malformed: 0, overflowed: 0, gaps: 0 };
  #started = false;

  async start(): Promise<void> {
    if (!this.#started) onGlobalChange(() => this.#follow());
    this.#started = true;
    this.#follow();
    await this.#allLive();
  }

  register(id: string, deliver: DeliverEvent, signal: AbortSignal | undefined): void {
    if (signal?.aborted) return;
    const before = this.#handlers.get(id);
    const abort = () => this.#leave(handler);
    const handler: IsolateHandler = {
      id,
      channel: "events",
      subscriptions: before?.subscriptions ?? new Set(),
      heard: (message) => this.#heard(handler, deliver, message),
      missed: () => this.#missed(handler, deliver),
      release: () => signal?.removeEventListener("abort", abort),
    };
    signal?.addEventListener("abort", abort, { once: true });
    if (before !== undefined) this.#end(before);
    for (const subscription of handler.subscriptions) this.#owners.set(subscription, handler);
    this.#handlers.set(id, handler);
    this.#begin(handler);
  }

  unregister(id: string): void {
    const handler = this.#handlers.get(id);
    if (handler !== undefined) this.#leave(handler);
  }

  track(id: string, subscription: string): 0 | 1 | 2 {
    const handler = this.#handlers.get(id);
    if (handler === undefined) return 0;
    const isTakenOver = (this.#owners.get(subscription) ?? handler) !== handler;
    const isNews = isTakenOver && !this.#toldTakenOver;
    this.#toldTakenOver ||= isTakenOver;
    this.untrack(subscription);
    this.#owners.set(subscription, handler);
    handler.subscriptions.add(subscription);
    return isNews ? 2 : 1;
  }

  untrack(subscription: string): void {
    this.#owners.get(subscription)?.subscriptions.delete(subscription);
    this.#owners.delete(subscription);
  }

  /** Always false: a handler may belong to another request, which alone may call it. */
  publish(): boolean {
    return false;
  }

  async send(message: string): Promise<boolean> {
    return (await getGlobalKV().publish(CHANNEL_OF.events, message)) > 0;
  }

  watch(resource: string, call: AggregateWatcher): () => void {
    const watcher: IsolateWatcher = {
      resource,
      channel: "aggregate",
      heard: (message) => {
        this.#counts.seen += 1;
        const changed = readAggregate(message);
        if (changed === undefined) this.#counts.malformed += 1;
        if (changed === resource) calling(() => call(), warnOfWatcher);
      },
      missed: () => {
        this.#counts.gaps += 1;
        calling(() => call(), warnOfWatcher);
      },
    };
    this.#watchers.add(watcher);
    this.#begin(watcher);
    return () => {
      if (this.#watchers.delete(watcher)) this.#end(watcher);
    };
  }

  async notify(resource: string): Promise<void> {
    await getGlobalKV().publish(CHANNEL_OF.aggregate, JSON.stringify({ resource }));
  }

  watcherCount(resource: string | undefined): number {
    if (resource === undefined) return this.#watchers.size;
    return [...this.#watchers].filter((watcher) => watcher.resource === resource).length;
  }

  stats(): FanoutStats {
    const [handlers, subscriptions, watchers] = [this.#handlers, this.#owners, this.#watchers];
    return {
      handlers: handlers.size,
      subscriptions: subscriptions.size,
      watchers: watchers.size,
      ...this.#counts,
      streams: [],
    };
  }

  #leave(handler: IsolateHandler): void {
    if (this.#handlers.get(handler.id) !== handler) return;
    this.#handlers.delete(handler.id);
    for (const subscription of handler.subscriptions) this.#owners.delete(subscription);
    this.#end(handler);
  }

  #heard(handler: IsolateHandler, deliver: DeliverEvent, text: string): void {
    this.#counts.seen += 1;
    const message = readEvent(text, (subscription) => this.#owners.get(subscription) === handler);
    if (message === undefined) {
      this.#counts.malformed += 1;
    } else if (message === "unwanted") {
      this.#counts.notLocal += 1;
    } else {
      this.#counts.delivered += 1;
      calling(() => deliver(message.event, message.subscriptionId), warnOfHandler);
    }
  }

  #missed(handler: IsolateHandler, deliver: DeliverEvent): void {
    if (handler.subscriptions.size > 0) this.#counts.gaps += 1;
    for (const subscription of [...handler.subscriptions]) {
      if (this.#owners.get(subscription) === handler)
        calling(() => deliver(GAP, subscription), warnOfHandler);
    }
  }

  /** Subscribes through the global store. The subscription stays with that store, as its request requires, until it is closed. */
  #begin(subscriber: Subscriber): void {
    const kv = this.#started ? currentKV() : undefined;
    if (kv === undefined || kv.status === "closed") return;
    if (typeof kv.on === "function" && !this.#known.has(kv)) {
      this.#known.add(kv);
      kv.on("end", () => this.#detach(kv));
      kv.on("ready", () => this.#follow());
    }
    const subscription = new HandlerSubscription(kv, subscriber);
    // Opening may emit `ready`, whose listener must find it.
    this.#subscribers.set(subscriber, subscription);
    void subscription.open();
  }

  #end(subscriber: IsolateHandler | IsolateWatcher): void {
    this.#subscribers.get(subscriber)?.close();
    this.#subscribers.delete(subscriber);
    if ("release" in subscriber) subscriber.release();
  }

  #follow(): void {
    for (const subscriber of [...this.#handlers.values(), ...this.#watchers]) {
      if (!this.#subscribers.has(subscriber)) this.#begin(subscriber);
    }
  }

  #detach(kv: KVAdapter): void {
    for (const [subscriber, subscription] of this.#subscribers) {
      if (subscription.kv !== kv) continue;
      // A subscription that is not live yet would retry, and deliver beside the next one.
      subscription.close();
      this.#subscribers.delete(subscriber);
    }
    this.#follow();
  }

  /** Polls, as a Promise of another request must not be awaited. */
  async #allLive(): Promise<void> {
    const kv = currentKV();
    const start = now();
    const deadline = start + TIMEOUT_MS;
    // A subscription of an ended request never becomes live.
    const isAlive = (subscription: HandlerSubscription) =>
      subscription.kv === kv && start - subscription.triedAt < TIMEOUT_MS;
    const alive = [...this.#subscribers.values()].filter(isAlive);
    for (;;) {
      const opening = alive.filter((subscription) => subscription.isOpening);
      if (opening.length === 0) return;
      const failed = opening.find((subscription) => subscription.error !== undefined);
      if (failed !== undefined) throw failed.error;
      if (now() > deadline)
        throw new KVError("TIMEOUT", "The fan-out could not subscribe in time", { reason: "fan-out" });
      await new Promise((resolve) => setTimeout(resolve, LOOK_AFTER));
    }
  }
}

let isolates: Engine | undefined;

/** The fan-out of this isolate. */
export function fanout(): Engine {
  isolates ??= new IsolateFanout();
  return isolates;
}
