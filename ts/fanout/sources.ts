import type { FanoutThread as NativeFanoutThread } from "../../native.js";
import type { KVAdapter } from "../adapter.js";
import { RedisKVStore } from "../backends/redis.js";
import type { Gap } from "../events.js";
import { ChannelSubscription } from "./channel-subscription.js";
import { CHANNEL_OF, CHANNELS, type Channel } from "./channels.js";

/** The source of messages of other instances. */
export interface Source {
  /** Whether a channel is wanted, and whether it is live. */
  hears(channel: Channel): { wanted: boolean; live: boolean };
  /** Whether PUBLISH on the channel is likely to count this process as a receiver. */
  counts(channel: Channel): boolean;
  /** Resolves once a wanted channel is live. */
  confirm(channel: Channel): Promise<void>;
  /** Called when handlers or watchers were added or removed, or the thread began or stopped waiting for an answer. */
  update(wants: Record<Channel, boolean>, isWaiting: boolean): void;
  close(): void;
}

/** A Redis server: native code receives its messages, once for all threads of the process. */
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

  update({ events, aggregate }: Record<Channel, boolean>, isWaiting: boolean): void {
    this.#native.keepAlive(events || aggregate || isWaiting);
  }

  close(): void {
    this.#native.keepAlive(false);
    this.#native.detach();
  }
}

/** Any other store: a callback in this thread receives its messages. */
export class ListeningSource implements Source {
  readonly #native: NativeFanoutThread;
  readonly #kv: KVAdapter;
  readonly #heard: () => void;
  readonly #channels: Record<Channel, ChannelSubscription>;
  /** The last gap: the store tells each channel of it. */
  #gap: Gap | undefined;
  /** The store takes a while to unsubscribe: what comes meanwhile comes from the next source too. */
  #isClosed = false;

  /** `heard` runs after each message. */
  constructor(native: NativeFanoutThread, kv: KVAdapter, heard: () => void) {
    this.#native = native;
    this.#kv = kv;
    this.#heard = heard;
    this.#channels = { events: this.#subscriptionOf("events"), aggregate: this.#subscriptionOf("aggregate") };
  }

  #subscriptionOf(channel: Channel): ChannelSubscription {
    const name = CHANNEL_OF[channel];
    return new ChannelSubscription(this.#kv, name, {
      heard: (message) => {
        if (this.#isClosed) return;
        this.#native.hear(name, message);
        this.#heard();
      },
      missed: (gap) => {
        if (this.#isClosed) return;
        if (this.#gap?.from === gap.from && this.#gap.to === gap.to) return;
        this.#gap = gap;
        this.#native.missed(gap.from, gap.to);
      },
    });
  }

  hears(channel: Channel): { wanted: boolean; live: boolean } {
    const { wanted, live } = this.#channels[channel];
    return { wanted, live };
  }

  counts(channel: Channel): boolean {
    const { wanted, live, leaving, failing } = this.#channels[channel];
    // In a memory store a subscription is live before its Promise resolves.
    return live || leaving || (wanted && !failing);
  }

  async confirm(channel: Channel): Promise<void> {
    await this.#channels[channel].changed;
  }

  update(wants: Record<Channel, boolean>): void {
    if (!wants.aggregate) this.#native.clearEchoes();
    for (const channel of CHANNELS) this.#channels[channel].want(wants[channel]);
  }

  close(): void {
    this.#isClosed = true;
    this.update({ events: false, aggregate: false });
    this.#native.detach();
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
