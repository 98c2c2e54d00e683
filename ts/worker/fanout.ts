// The fan-out in a Worker, in place of the one in Rust.
import type { KVAdapter } from "../adapter.js";
import { calling } from "../emitter.js";
import { KVError } from "../errors.js";
import { CHANNEL_OF } from "../fanout/ear.js";
import type { AggregateWatcher, DeliverEvent, Engine, FanoutStats } from "../fanout/engine.js";
import { reportHandler, reportWatcher } from "../fanout/reports.js";
import { currentKV, getGlobalKV, onGlobalChange } from "../global.js";
import { now, setTimeout } from "../timers.js";
import { Ear, type Hearer } from "./ear.js";
import { readAggregate, readEvent } from "./message.js";

const GAP = '{"type":"invalidate","reason":"fanout-gap"}';

/** How long `start` waits for what is being opened, and how often it looks, in ms. */
const PATIENCE = 5_000;
const LOOK_AFTER = 5;

interface Handler extends Hearer {
  readonly id: string;
  readonly subscriptions: Set<string>;
  /** Lets go of the signal that would unregister it. */
  release(): void;
}

interface Watcher extends Hearer {
  readonly resource: string;
}

/** The handlers and watchers of an isolate. What one does for another's request, it does by way of the store. */
class Fanout implements Engine {
  readonly #handlers = new Map<string, Handler>();
  /** The handler of each subscription. */
  readonly #owners = new Map<string, Handler>();
  readonly #watchers = new Set<Watcher>();
  readonly #ears = new Map<Hearer, Ear>();
  /** Stores whose opening and closing is followed. */
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
    const handler: Handler = {
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

  /** Never: a handler of this isolate may be another request's, which alone may call it. */
  publish(): boolean {
    return false;
  }

  async send(message: string): Promise<boolean> {
    return (await getGlobalKV().publish(CHANNEL_OF.events, message)) > 0;
  }

  watch(resource: string, call: AggregateWatcher): () => void {
    const watcher: Watcher = {
      resource,
      channel: "aggregate",
      heard: (message) => {
        this.#counts.seen += 1;
        const changed = readAggregate(message);
        if (changed === undefined) this.#counts.malformed += 1;
        if (changed === resource) calling(() => call(), reportWatcher);
      },
      missed: () => {
        this.#counts.gaps += 1;
        calling(() => call(), reportWatcher);
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

  #leave(handler: Handler): void {
    if (this.#handlers.get(handler.id) !== handler) return;
    this.#handlers.delete(handler.id);
    for (const subscription of handler.subscriptions) this.#owners.delete(subscription);
    this.#end(handler);
  }

  #heard(handler: Handler, deliver: DeliverEvent, text: string): void {
    this.#counts.seen += 1;
    const message = readEvent(text, (subscription) => this.#owners.get(subscription) === handler);
    if (message === undefined) {
      this.#counts.malformed += 1;
    } else if (message === "unwanted") {
      this.#counts.notLocal += 1;
    } else {
      this.#counts.delivered += 1;
      calling(() => deliver(message.event, message.subscriptionId), reportHandler);
    }
  }

  #missed(handler: Handler, deliver: DeliverEvent): void {
    if (handler.subscriptions.size > 0) this.#counts.gaps += 1;
    for (const subscription of [...handler.subscriptions]) {
      if (this.#owners.get(subscription) === handler)
        calling(() => deliver(GAP, subscription), reportHandler);
    }
  }

  /** Has it heard by way of the process's store. It stays with that one, for its request's sake, until that is closed. */
  #begin(hearer: Hearer): void {
    const kv = this.#started ? currentKV() : undefined;
    if (kv === undefined || kv.status === "closed") return;
    if (typeof kv.on === "function" && !this.#known.has(kv)) {
      this.#known.add(kv);
      kv.on("end", () => this.#detach(kv));
      kv.on("ready", () => this.#follow());
    }
    const ear = new Ear(kv, hearer);
    // It may open the store, and that is followed: it has to be known by then.
    this.#ears.set(hearer, ear);
    void ear.open();
  }

  #end(hearer: Handler | Watcher): void {
    this.#ears.get(hearer)?.close();
    this.#ears.delete(hearer);
    if ("release" in hearer) hearer.release();
  }

  #follow(): void {
    for (const hearer of [...this.#handlers.values(), ...this.#watchers]) {
      if (!this.#ears.has(hearer)) this.#begin(hearer);
    }
  }

  #detach(kv: KVAdapter): void {
    for (const [hearer, ear] of this.#ears) {
      if (ear.kv !== kv) continue;
      // One that is not live yet would go on trying, and hear beside the next one.
      ear.close();
      this.#ears.delete(hearer);
    }
    this.#follow();
  }

  /** Looks again and again, as a Promise of another request must not be awaited. */
  async #allLive(): Promise<void> {
    const kv = currentKV();
    const start = now();
    const deadline = start + PATIENCE;
    // What belongs to a request that has ended will never be live.
    const isAlive = (ear: Ear) => ear.kv === kv && start - ear.triedAt < PATIENCE;
    const ears = [...this.#ears.values()].filter(isAlive);
    for (;;) {
      const opening = ears.filter((ear) => ear.isOpening);
      if (opening.length === 0) return;
      const failed = opening.find((ear) => ear.error !== undefined);
      if (failed !== undefined) throw failed.error;
      if (now() > deadline)
        throw new KVError("TIMEOUT", "The fan-out could not subscribe in time", { reason: "fan-out" });
      await new Promise((resolve) => setTimeout(resolve, LOOK_AFTER));
    }
  }
}

let isolates: Engine | undefined;

/** The one of this isolate. */
export function fanout(): Engine {
  isolates ??= new Fanout();
  return isolates;
}
