import type { KVAdapter, Subscription } from "../adapter.js";
import { KVError, warn } from "../errors.js";
import type { Gap } from "../events.js";
import { clearTimeout, now, setTimeout } from "../timers.js";

/** The delay before a failed subscription is tried again. */
export const RETRY_MS = 1_000;

/** Called with the messages of a channel. */
export interface ChannelCallbacks {
  heard(message: string): void;
  missed(gap: Gap): void;
}

/** The number of users of a name that was subscribed by `subscribe`: only the last may unsubscribe it. */
const sharing = new WeakMap<KVAdapter, Map<string, number>>();

/** Subscribes a channel. Resolves to a handle that closes only this subscription. */
export async function listenTo(
  kv: KVAdapter,
  name: string,
  { heard, missed }: ChannelCallbacks,
): Promise<Pick<Subscription, "close">> {
  const { listen, subscribeScoped } = kv as Partial<Pick<KVAdapter, "listen" | "subscribeScoped">>;
  if (typeof listen === "function") return listen.call(kv, [name], heard, { onGap: missed });
  // An application's own store, with the framework's interface.
  if (typeof subscribeScoped === "function") return subscribeScoped.call(kv, [name], heard);
  await kv.subscribe(name, heard);
  const counts = sharing.get(kv) ?? new Map<string, number>();
  sharing.set(kv, counts);
  const count = (change: number) => {
    counts.set(name, (counts.get(name) ?? 0) + change);
    return counts.get(name);
  };
  count(1);
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    if (count(-1) === 0) await kv.unsubscribe(name);
  };
  return { close };
}

/** A channel that is subscribed while it is wanted. */
export class ChannelSubscription {
  readonly #kv: KVAdapter;
  readonly #name: string;
  readonly #callbacks: ChannelCallbacks;
  wanted = false;
  live = false;
  /** Whether it is being unsubscribed. */
  leaving = false;
  /** Settles when the last change is done, or has failed. */
  changed: Promise<void> = Promise.resolve();
  #subscription: Pick<Subscription, "close"> | undefined;
  #failedAt: number | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** The number of changes that run or wait. */
  #pending = 0;

  constructor(kv: KVAdapter, name: string, callbacks: ChannelCallbacks) {
    this.#kv = kv;
    this.#name = name;
    this.#callbacks = callbacks;
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

  /** Subscribes or unsubscribes, one change after another. A private memory store is subscribed before this returns. */
  #follow(): void {
    clearTimeout(this.#retry);
    this.#pending += 1;
    const change =
      this.#pending === 1 ? this.#change() : this.changed.catch(() => {}).then(() => this.#change());
    this.changed = change.finally(() => {
      this.#pending -= 1;
    });
    this.changed.catch((error) => this.#failed(error));
  }

  async #change(): Promise<void> {
    if (this.wanted && this.#subscription === undefined) {
      this.#subscription = await listenTo(this.#kv, this.#name, this.#callbacks);
      this.live = true;
      const from = this.#failedAt;
      this.#failedAt = undefined;
      if (from !== undefined) this.#callbacks.missed({ from, to: now(), reason: "connection" });
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

  #failed(error: unknown): void {
    if (!this.wanted || (error instanceof KVError && error.code === "CLOSED")) return;
    if (this.#failedAt === undefined) warn(`The fan-out could not subscribe ${this.#name}`, error);
    this.#failedAt ??= now();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#follow(), RETRY_MS).unref();
  }
}
