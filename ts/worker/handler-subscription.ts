import type { KVAdapter, Subscription } from "../adapter.js";
import { warn } from "../errors.js";
import { listenTo, RETRY_MS } from "../fanout/channel-subscription.js";
import { CHANNEL_OF, type Channel } from "../fanout/channels.js";
import { now, setTimeout } from "../timers.js";

/** A handler or a watcher that has a subscription. */
export interface Subscriber {
  readonly channel: Channel;
  heard(message: string): void;
  /** Messages may have been missed. */
  missed(): void;
}

/**
 * The subscription of one handler or watcher: it is opened, and opened again, in the request that registered it. In Workers a request
 * must not use objects of another one, not even a Promise.
 */
export class HandlerSubscription {
  readonly kv: KVAdapter;
  readonly #subscriber: Subscriber;
  #subscription: Pick<Subscription, "close"> | undefined;
  #isClosed = false;
  /** Why it is not live yet. */
  error: unknown;
  /** The time of the last attempt, in ms since the epoch. */
  triedAt = 0;

  constructor(kv: KVAdapter, subscriber: Subscriber) {
    this.kv = kv;
    this.#subscriber = subscriber;
  }

  get isOpening(): boolean {
    return this.#subscription === undefined && !this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    // A subscription of another request is closed by a request to the object.
    this.#subscription?.close().catch(() => {});
  }

  /** Never rejects. */
  async open(): Promise<void> {
    while (this.isOpening) {
      this.triedAt = now();
      try {
        this.#subscription = await this.#listen();
        this.error = undefined;
      } catch (error) {
        if (this.error === undefined) warn(`The fan-out could not subscribe ${this.#name}`, error);
        this.error = error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    if (this.#isClosed) this.close();
    // A handler from before the attempt has missed messages.
    else this.#subscriber.missed();
  }

  get #name(): string {
    return CHANNEL_OF[this.#subscriber.channel];
  }

  #listen(): Promise<Pick<Subscription, "close">> {
    const unlessClosed = (tell: () => void) => {
      if (!this.#isClosed) tell();
    };
    return listenTo(this.kv, this.#name, {
      heard: (message) => unlessClosed(() => this.#subscriber.heard(message)),
      missed: () => unlessClosed(() => this.#subscriber.missed()),
    });
  }
}
