import type { KVAdapter, Subscription } from "../adapter.js";
import { RedisKVStore } from "../backends/redis.js";
import { KVError, warn } from "../errors.js";
import type { Gap } from "../events.js";
import type { NativeFanoutThread } from "../native.js";

/** `events` has what is for handlers, `aggregate` what is for watchers. */
export type Channel = "events" | "aggregate";
export const CHANNELS: readonly Channel[] = ["events", "aggregate"];

/** By what way messages of other instances come to this thread. */
export interface Source {
  /** Whether a channel is to be heard, and whether it is. */
  hears(channel: Channel): { wanted: boolean; live: boolean };
  /** Whether what is published is likely to count this process among those who got it. */
  counts(channel: Channel): boolean;
  /** Resolves once a channel is heard that is to be. */
  confirm(channel: Channel): Promise<void>;
  /** This thread's handlers or watchers have come or gone, or it has begun or ceased to wait for an answer. */
  settle(wants: Record<Channel, boolean>, isWaiting: boolean): void;
  close(): void;
}

/** A Redis server: its messages are heard off this thread, for all threads of the process together. */
export class RedisSource implements Source {
  readonly #native: NativeFanoutThread;
  readonly #answered: (ask: (id: number) => void) => Promise<void>;

  constructor(
    native: NativeFanoutThread,
    store: RedisKVStore,
    answered: (ask: (id: number) => void) => Promise<void>,
  ) {
    this.#native = native;
    this.#answered = answered;
    store.attachFanout(native);
  }

  hears(channel: Channel): { wanted: boolean; live: boolean } {
    return this.#native.hears(channel === "aggregate");
  }

  counts(channel: Channel): boolean {
    return this.hears(channel).live;
  }

  confirm(channel: Channel): Promise<void> {
    return this.#answered((id) => this.#native.confirm(id, channel === "aggregate"));
  }

  settle({ events, aggregate }: Record<Channel, boolean>, isWaiting: boolean): void {
    this.#native.listen(events || aggregate || isWaiting);
  }

  close(): void {
    this.#native.listen(false);
    this.#native.detach();
  }
}

/** How long until a subscription that failed is tried again. */
export const RETRY_MS = 1_000;

/** A timer that does not keep the process alive. */
export function unref(timer: unknown): void {
  (timer as { unref?(): void }).unref?.();
}

/** Any other store: its messages are heard in this thread, as any callback's. */
export class ListeningSource implements Source {
  readonly #native: NativeFanoutThread;
  readonly #kv: KVAdapter;
  readonly #heard: () => void;
  readonly #ears: Record<Channel, Ear>;

  /** `heard` is called after each message. */
  constructor(native: NativeFanoutThread, kv: KVAdapter, heard: () => void) {
    this.#native = native;
    this.#kv = kv;
    this.#heard = heard;
    this.#ears = { events: this.#ear("covara:events"), aggregate: this.#ear("covara:aggregate") };
  }

  #ear(name: string): Ear {
    return new Ear(this.#kv, name, {
      heard: (message) => {
        this.#native.hear(name, message);
        this.#heard();
      },
      missed: ({ from, to }) => this.#native.missed(from, to),
    });
  }

  hears(channel: Channel): { wanted: boolean; live: boolean } {
    const { wanted, live } = this.#ears[channel];
    return { wanted, live };
  }

  counts(channel: Channel): boolean {
    const { wanted, live, leaving, failing } = this.#ears[channel];
    // A memory store has it before it says so.
    return live || leaving || (wanted && !failing);
  }

  async confirm(channel: Channel): Promise<void> {
    await this.#ears[channel].settled;
  }

  settle(wants: Record<Channel, boolean>): void {
    if (!wants.aggregate) this.#native.clearEchoes();
    for (const channel of CHANNELS) this.#ears[channel].want(wants[channel]);
  }

  close(): void {
    this.settle({ events: false, aggregate: false });
    this.#native.detach();
  }
}

interface Listener {
  heard(message: string): void;
  missed(gap: Gap): void;
}

/** One channel that is subscribed, or not, as it is wanted. */
class Ear {
  readonly #kv: KVAdapter;
  readonly #name: string;
  readonly #listener: Listener;
  wanted = false;
  live = false;
  /** It is not heard any more, but the store may not know yet. */
  leaving = false;
  /** Settles when what was wanted last is done, or has failed. */
  settled: Promise<void> = Promise.resolve();
  #subscription: Pick<Subscription, "close"> | undefined;
  #failedAt: number | undefined;
  #retry: unknown;
  /** How many changes are under way, or wait for one that is. */
  #pending = 0;

  constructor(kv: KVAdapter, name: string, listener: Listener) {
    this.#kv = kv;
    this.#name = name;
    this.#listener = listener;
  }

  get failing(): boolean {
    return this.#failedAt !== undefined;
  }

  want(wanted: boolean): void {
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    if (!wanted) this.#failedAt = undefined;
    this.#follow();
  }

  /** Subscribes or leaves, one after the other. A private memory store is subscribed before this returns. */
  #follow(): void {
    clearTimeout(this.#retry as never);
    this.#pending += 1;
    const change =
      this.#pending === 1 ? this.#change() : this.settled.catch(() => {}).then(() => this.#change());
    this.settled = change.finally(() => {
      this.#pending -= 1;
    });
    this.settled.catch((error) => this.#failed(error));
  }

  async #change(): Promise<void> {
    if (this.wanted && this.#subscription === undefined) {
      this.#subscription = await this.#listen();
      this.live = true;
      const from = this.#failedAt;
      this.#failedAt = undefined;
      if (from !== undefined) this.#listener.missed({ from, to: Date.now(), reason: "connection" });
    } else if (!this.wanted && this.#subscription !== undefined) {
      const subscription = this.#subscription;
      this.#subscription = undefined;
      this.live = false;
      this.leaving = true;
      await subscription.close().finally(() => {
        this.leaving = false;
      });
    }
  }

  #listen(): Promise<Pick<Subscription, "close">> {
    const { heard, missed } = this.#listener;
    const kv = this.#kv as Partial<Pick<KVAdapter, "listen">> & KVAdapter;
    if (typeof kv.listen === "function") return kv.listen([this.#name], heard, { onGap: missed });
    // A store of the application's own, written for the framework's interface.
    const close = () => kv.unsubscribe(this.#name);
    return kv.subscribe(this.#name, heard).then(() => ({ close }));
  }

  #failed(error: unknown): void {
    if (!this.wanted || (error instanceof KVError && error.code === "CLOSED")) return;
    if (this.#failedAt === undefined) warn(`The fan-out could not subscribe ${this.#name}`, error);
    this.#failedAt ??= Date.now();
    clearTimeout(this.#retry as never);
    this.#retry = setTimeout(() => this.#follow(), RETRY_MS);
    unref(this.#retry);
  }
}

export function sourceOf(
  kv: KVAdapter,
  native: NativeFanoutThread,
  answered: (ask: (id: number) => void) => Promise<void>,
  heard: () => void,
): Source {
  return kv instanceof RedisKVStore
    ? new RedisSource(native, kv, answered)
    : new ListeningSource(native, kv, heard);
}
