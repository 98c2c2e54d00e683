import type { FanoutThread as NativeFanoutThread } from "../../native.js";
import type { KVAdapter } from "../adapter.js";
import { collect } from "../backends/collect.js";
import { RedisKVStore } from "../backends/redis.js";
import { Ring } from "../backends/ring.js";
import { Waiters } from "../backends/waiters.js";
import { tellGap, tellReconnecting } from "../diagnostics.js";
import { calling } from "../emitter.js";
import { tagged, warn } from "../errors.js";
import { currentKV, getGlobalKV, onGlobalChange } from "../global.js";
import { FanoutThread } from "../native.js";
import { overflowSince } from "../overflow.js";
import { BATCH, isSliceOver, runFairly, runNow } from "../time-slice.js";
import { clearTimeout, now, setTimeout } from "../timers.js";
import { RETRY_MS } from "./channel-subscription.js";
import { CHANNEL_OF, CHANNELS, type Channel } from "./channels.js";
import type { AggregateWatcher, DeliverEvent, Engine, FanoutStats } from "./engine.js";
import { type Source, sourceOf } from "./sources.js";
import { warnOfHandler, warnOfWatcher } from "./warnings.js";

interface Handler {
  readonly deliver: DeliverEvent;
  /** Removes its listener from the abort signal. */
  readonly release: () => void;
}

interface PendingQuestion {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** How long to wait for a subscription that is under way: on a busy machine a new connection took more than 100 ms. */
const SHORTLY_MS = 1_000;

/** The part of this thread in the fan-out. */
class ThreadFanout implements Engine {
  #nativeOnce: NativeFanoutThread | undefined;
  readonly #handlers = new Map<number, Handler>();
  readonly #watchers = new Map<number, AggregateWatcher>();
  readonly #watchersOf = new Map<string, Set<number>>();
  readonly #questions = new Ring<PendingQuestion>();
  #unanswered = 0;
  #nextToken = 0;
  #delivering = false;
  /** Items have arrived during a delivery. */
  #again = false;
  readonly #waiters = new Waiters();
  /** Subscriptions that ended while this thread delivers what it has taken. Their events are dropped. */
  readonly #untracked = new Set<string>();
  /** Handlers that were replaced during a delivery, with their successors. */
  readonly #replaced = new Map<number, number>();

  /** The number of events that wait for `#hold` before they are sent. */
  #held = 0;
  #hold: Promise<void> | undefined;

  /** Requests refused subscriptions again. */
  #retry: NodeJS.Timeout | undefined;

  /** `initializeEventSubscription` was called. */
  #started = false;
  /** The global store that this is attached to. */
  #kv: KVAdapter | undefined;
  #source: Source | undefined;
  /** Since when there is no source, although there are handlers or watchers. */
  #deafSince: number | undefined;
  /** Stores with our listeners of `ready` and `end`. */
  readonly #known = new WeakSet<KVAdapter>();

  get #native(): NativeFanoutThread {
    this.#nativeOnce ??= new FanoutThread(() => runFairly(this.#deliver), collect);
    return this.#nativeOnce;
  }

  async start(): Promise<void> {
    if (!this.#started) {
      this.#started = true;
      onGlobalChange(() => this.#follow());
    }
    this.#follow();
    this.#native.retry();
    await this.#confirmed();
  }

  register(id: string, deliver: DeliverEvent, signal: AbortSignal | undefined): void {
    if (signal?.aborted) return;
    const token = this.#nextToken++;
    const abort = () => this.#gone(this.#native.unregister(id, token));
    signal?.addEventListener("abort", abort, { once: true });
    this.#handlers.set(token, { deliver, release: () => signal?.removeEventListener("abort", abort) });
    const replaced = this.#native.register(id, token);
    if (replaced !== null && this.#delivering) this.#replaced.set(replaced, token);
    this.#gone(replaced);
  }

  unregister(id: string): void {
    this.#gone(this.#native.unregister(id));
  }

  /** A handler, if there is a token, was removed; another may have been added. */
  #gone(token: number | null): void {
    if (token !== null) {
      this.#handlers.get(token)?.release();
      this.#handlers.delete(token);
    }
    this.#updateSource();
  }

  track(handler: string, subscription: string): 0 | 1 | 2 {
    return this.#native.track(handler, subscription);
  }

  untrack(subscription: string): void {
    if (this.#delivering) this.#untracked.add(subscription);
    this.#native.untrack(subscription);
  }

  publish(subscription: string, event: string): boolean | Promise<boolean> {
    const reached = this.#native.publish(subscription, event);
    if (reached === 2) return this.#deliverOwn()?.then(() => true) ?? true;
    return reached !== 0;
  }

  /**
   * Publishes an event for another process. Resolves to whether one got it. Events leave in the order of the calls: none overtakes an
   * event that waits until its own channel is live.
   */
  async send(message: string): Promise<boolean> {
    const kv = getGlobalKV();
    const wasAway = kv.status === "reconnecting";
    if (this.#held > 0 || (!wasAway && this.#isAboutToHear("events"))) {
      this.#held += 1;
      this.#hold ??= this.#aboutToHear("events");
      await this.#hold;
      this.#held -= 1;
      if (this.#held === 0) this.#hold = undefined;
    }
    const { receivers, isTargeted } =
      kv instanceof RedisKVStore
        ? await kv.publishEvent(message)
        : { receivers: await kv.publish(CHANNEL_OF.events, message), isTargeted: false };
    // A subscriber of a subscription's own channel has its stream.
    if (isTargeted) return receivers > 0;
    // After an outage the subscription may have been live before the message, and not be confirmed yet.
    if (wasAway) await this.#aboutToHear("events");
    return receivers > (this.#source?.counts("events") ? 1 : 0);
  }

  watch(resource: string, watcher: AggregateWatcher): () => void {
    const token = this.#nextToken++;
    const tokens = this.#watchersOf.get(resource) ?? new Set();
    this.#watchersOf.set(resource, tokens.add(token));
    this.#watchers.set(token, watcher);
    this.#native.watch(resource, token);
    this.#updateSource();
    return () => {
      if (!this.#watchers.delete(token)) return;
      tokens.delete(token);
      if (tokens.size === 0) this.#watchersOf.delete(resource);
      this.#native.unwatch(resource, token);
      this.#updateSource();
    };
  }

  async notify(resource: string, changed: unknown[] | undefined): Promise<void> {
    for (const token of [...(this.#watchersOf.get(resource) ?? [])]) {
      const watcher = this.#watchers.get(token);
      if (watcher === undefined) continue;
      calling(() => (changed === undefined ? watcher() : watcher(changed)), warnOfWatcher);
    }
    this.#native.notify(resource);
    const kv = getGlobalKV();
    // The message would wait as long, and the subscription may be live before it leaves.
    if (kv instanceof RedisKVStore && kv.status === "reconnecting") await kv.ping();
    await this.#aboutToHear("aggregate");
    const { wanted, live } = this.#source?.hears("aggregate") ?? { wanted: false, live: false };
    const expected = wanted && live ? this.#native.expectEcho(resource) : null;
    try {
      await kv.publish(CHANNEL_OF.aggregate, JSON.stringify({ resource }));
    } catch (error) {
      if (expected !== null) this.#native.cancelEcho(resource, expected);
      throw error;
    }
  }

  #isAboutToHear(channel: Channel): boolean {
    this.#follow();
    const { wanted, live } = this.#source?.hears(channel) ?? { wanted: false, live: false };
    return wanted && !live;
  }

  /**
   * Resolves once a wanted channel is live, so that it is known whether a message comes back; or after a time, as a lasting failure
   * must not delay the caller.
   */
  async #aboutToHear(channel: Channel): Promise<void> {
    if (!this.#isAboutToHear(channel)) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, SHORTLY_MS);
    });
    const confirmed = this.#source?.confirm(channel).catch(() => {});
    await Promise.race([confirmed, late]);
    clearTimeout(timer);
  }

  watcherCount(resource: string | undefined): number {
    return this.#native.watcherCount(resource);
  }

  stats(): FanoutStats {
    return { ...this.#native.stats(), streams: this.#native.streams() };
  }

  /** Attaches to the current global store. */
  #follow(): void {
    const kv = this.#started ? currentKV() : undefined;
    if (kv === this.#kv) return;
    this.#detach();
    this.#kv = kv;
    if (kv !== undefined) this.#attach(kv);
  }

  #attach(kv: KVAdapter): void {
    // An application's own store may have no events.
    if (typeof kv.on === "function" && !this.#known.has(kv)) {
      this.#known.add(kv);
      // Detaches from a closed store, and attaches again when it is opened.
      kv.on("end", () => {
        if (kv === this.#kv) this.#detach();
      });
      kv.on("ready", () => {
        if (kv === this.#kv && this.#source === undefined) this.#attach(kv);
      });
    }
    if (kv.status === "closed") return;
    const ask = (question: (id: number) => void) =>
      new Promise<void>((resolve, reject) => {
        this.#unanswered += 1;
        this.#updateSource();
        question(this.#questions.add({ resolve, reject }));
      });
    this.#source = sourceOf(kv, this.#native, ask, () => this.#deliverOwn());
    this.#updateSource();
    if (this.#deafSince !== undefined) this.#hearAgain(this.#source);
  }

  #detach(): void {
    if (this.#source === undefined) return;
    if (this.#handlers.size > 0 || this.#watchers.size > 0) this.#deafSince ??= now();
    this.#source.close();
    this.#source = undefined;
  }

  /** Reports the time without a source as a gap, once this source is live. */
  async #hearAgain(source: Source): Promise<void> {
    while (source === this.#source) {
      try {
        await this.#confirmed();
        const from = this.#deafSince;
        if (source !== this.#source || from === undefined) return;
        this.#deafSince = undefined;
        this.#native.missed(from, now());
        return;
      } catch {
        // Tried again until it succeeds: the store reports the reason.
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    }
  }

  async #confirmed(): Promise<void> {
    const source = this.#source;
    if (source === undefined) return;
    const wanted = CHANNELS.filter((channel) => source.hears(channel).wanted);
    await Promise.all(wanted.map((channel) => source.confirm(channel)));
  }

  #updateSource(): void {
    // Without handlers and watchers no gap is reported.
    if (this.#handlers.size === 0 && this.#watchers.size === 0) this.#deafSince = undefined;
    const wants = { events: this.#handlers.size > 0, aggregate: this.#watchers.size > 0 };
    this.#source?.update(wants, this.#unanswered > 0);
  }

  /** Delivers items that this thread queued. A Promise resolves once they are delivered, if they need more than a time slice. */
  #deliverOwn(): Promise<void> | undefined {
    if (this.#delivering) {
      this.#again = true;
      return undefined;
    }
    return runNow(this.#deliver) ? this.#waiters.until(this.#native.waiting()) : undefined;
  }

  /** Delivers the items that have arrived. */
  readonly #deliver = (): boolean => {
    if (this.#delivering) return false;
    this.#delivering = true;
    let isMore: boolean;
    try {
      do {
        this.#again = false;
        this.#untracked.clear();
        this.#replaced.clear();
        isMore = this.#deliverItems() || this.#again;
      } while (isMore && !isSliceOver());
    } finally {
      this.#delivering = false;
    }
    for (const notice of this.#native.notices()) this.#noticed(notice);
    return isMore;
  };

  /** True if there may be more. */
  #deliverItems(): boolean {
    const items = this.#native.take(BATCH);
    for (let i = 0; i < items.length; i += 3) {
      const token = items[i] as number;
      const subscription = items[i + 1] as string | null;
      if (subscription === null) {
        const watcher = this.#watchers.get(token);
        if (watcher !== undefined) calling(() => watcher(), warnOfWatcher);
      } else if (!this.#untracked.has(subscription)) {
        const deliver = this.#handlers.get(this.#current(token))?.deliver;
        if (deliver !== undefined)
          calling(() => deliver(items[i + 2] as string, subscription), warnOfHandler);
      }
    }
    const isMore = items.length === 3 * BATCH;
    this.#waiters.delivered(items.length / 3, !isMore);
    return isMore;
  }

  /** The token of the last successor of a handler. */
  #current(token: number): number {
    let current = token;
    for (let next = this.#replaced.get(current); next !== undefined; next = this.#replaced.get(current)) {
      current = next;
    }
    return current;
  }

  #noticed(notice: ReturnType<NativeFanoutThread["notices"]>[number]): void {
    switch (notice.name) {
      case "gone":
        this.#gone(notice.id);
        break;
      case "answer": {
        const { id, code, message = "" } = notice;
        const question = this.#questions.take(id);
        this.#unanswered -= 1;
        this.#updateSource();
        if (code === undefined) question?.resolve();
        else question?.reject(tagged(code, message));
        break;
      }
      case "failed":
        if (notice.first) {
          warn("The fan-out could not subscribe", tagged(notice.code, notice.message));
        }
        this.#retry ??= setTimeout(() => {
          this.#retry = undefined;
          this.#native.retry();
        }, RETRY_MS).unref();
        break;
      case "reconnecting": {
        const { attempt, delay, code, message } = notice;
        const cause = tagged(code, message);
        tellReconnecting({ backend: "fanout", connection: "subscriptions", attempt, delay, cause });
        break;
      }
      case "gap":
        tellGap("fanout", { from: notice.from, to: notice.to, reason: "connection" });
        break;
      case "overflow":
        tellGap("fanout", overflowSince(notice.from));
    }
  }
}

const threads: Engine = new ThreadFanout();

/** The fan-out of this thread. */
export function fanout(): Engine {
  return threads;
}
