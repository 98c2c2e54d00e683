import type { MessageCallback, Subscription } from "./adapter.js";
import { asyncDispose } from "./dispose.js";
import { calling, settling } from "./emitter.js";
import type { Gap } from "./events.js";

/** `streams` are channels of the fan-out, where the callbacks of `subscribe` may hear less than others. */
export type Kind = "channel" | "pattern" | "streams";

/**
 * What a backend does for PubSub. Its effects come in the order of the calls; a Promise tells that the one
 * called is there. Without one it is there at once, and then nothing here waits: a test's next poll may come first.
 */
export interface Source {
  /**
   * Have what is published to a name delivered. Called once for each name, however many callbacks it has. `isWanted` tells later whether
   * the name is still registered by this call.
   */
  register(kind: Kind, name: string, isWanted: () => boolean): void | Promise<void>;
  unregister(kind: Kind, name: string): void | Promise<void>;
  /** A name is forgotten, as its registration has failed. */
  failed(): void;
}

/** Callbacks, by channel and by pattern. */
export class PubSub {
  readonly #report: (error: unknown) => void;
  readonly #topics: Record<Kind, Topics>;
  readonly #onGap = new Set<{ readonly call: (gap: Gap) => unknown }>();

  /** What a callback throws goes to `report`: it hurts neither the publisher nor other callbacks. */
  constructor(source: Source, report: (error: unknown) => void) {
    this.#report = report;
    this.#topics = {
      channel: new Topics("channel", source),
      pattern: new Topics("pattern", source),
      streams: new Topics("streams", source),
    };
  }

  /** Resolves once live. A callback that is there already stays there once. */
  subscribe(kind: Kind, name: string, callback: MessageCallback): void | Promise<void> {
    return this.#topics[kind].add(name, callback, callback);
  }

  /** Takes every callback away. */
  unsubscribe(kind: Kind, name: string): void | Promise<void> {
    return this.#topics[kind].remove(name);
  }

  /**
   * Resolves, once live, to a handle that takes this callback away, and leaves the same one subscribed
   * elsewhere.
   */
  listen(
    channels: readonly string[],
    patterns: readonly string[],
    callback: MessageCallback,
    onGap: ((gap: Gap) => unknown) | undefined,
  ): Subscription | Promise<Subscription> {
    const { channel, pattern } = this.#topics;
    const owner = { call: onGap ?? (() => {}) };
    const close = async () => {
      this.#onGap.delete(owner);
      const left = allOf([
        ...channels.map((name) => channel.remove(name, owner)),
        ...patterns.map((name) => pattern.remove(name, owner)),
      ]);
      if (left !== undefined) await left;
    };
    const failed = (error: unknown): never => {
      // What led to it says more than how leaving the others went.
      close().catch(() => {});
      throw error;
    };
    this.#onGap.add(owner);
    const subscription = { close, [asyncDispose]: close };
    try {
      const live = allOf([
        ...channels.map((name) => channel.add(name, owner, callback)),
        ...patterns.map((name) => pattern.add(name, owner, callback)),
      ]);
      return live?.then(() => subscription, failed) ?? subscription;
    } catch (error) {
      return failed(error);
    }
  }

  /** Messages have come in, and will be delivered: they are for those who are there by now. */
  beginDelivery(): void {
    for (const topics of Object.values(this.#topics)) topics.delivery += 1;
  }

  /** Calls the callbacks of a channel, or of the pattern that the channel matched. False if there are none. */
  deliver(pattern: string | null, channel: string, message: string): boolean {
    if (pattern === null) return this.deliverTo("channel", channel, channel, message);
    return this.deliverTo("pattern", pattern, channel, message);
  }

  /** Calls the callbacks of a name. False if there are none. */
  deliverTo(kind: Kind, name: string, channel: string, message: string): boolean {
    const topic = this.#topics[kind].heard(name);
    if (topic === undefined) return false;
    topic.snapshot ??= snapshotOf(topic.slots);
    callEach(topic, topic.snapshot, channel, message, this.#report);
    return true;
  }

  /** Tells whoever asked to know that messages may have been missed. */
  missed(gap: Gap): void {
    for (const { call } of [...this.#onGap]) calling(() => call(gap), this.#report);
  }

  /**
   * Forgets a name that the source has lost, without a word to it. False if it was registered anew since that
   * became known.
   */
  drop(kind: Kind, name: string): boolean {
    return this.#topics[kind].drop(name);
  }

  /** Whether no name is registered, nor about to be. */
  get isEmpty(): boolean {
    return Object.values(this.#topics).every(({ size }) => size === 0);
  }

  /** Forgets everything, without a word to the source. */
  clear(): void {
    for (const topics of Object.values(this.#topics)) topics.clear();
    this.#onGap.clear();
  }
}

/** Resolves once all are there; nothing if they are. */
function allOf(changes: (void | Promise<void>)[]): Promise<unknown> | undefined {
  const pending = changes.filter((change) => change !== undefined);
  return pending.length === 0 ? undefined : Promise.all(pending);
}

/** One callback on one name. */
interface Slot {
  readonly callback: MessageCallback;
  /** Taken away, perhaps by a callback before it in the delivery that is going on. */
  taken: boolean;
}

interface Topic {
  /** By owner: the callback itself, or the handle that it came with. */
  readonly slots: Map<unknown, Slot>;
  /** Settles when the source has registered the name. */
  readonly live: Promise<void> | undefined;
  /** The number of the delivery that had begun last when it was registered. */
  readonly since: number;
  /** As a delivery sees it; made anew after a change, so that a delivery never meets one. */
  snapshot: Snapshot | undefined;
}

interface Snapshot {
  readonly slots: readonly Slot[];
  /** Of each slot. */
  readonly callbacks: readonly MessageCallback[];
}

/** Like `calling` for each, without a closure. A function of its own, by index: V8 makes a third more calls of it than within a method. */
function callEach(
  topic: Topic,
  snapshot: Snapshot,
  channel: string,
  message: string,
  report: (error: unknown) => void,
): void {
  const { callbacks, slots } = snapshot;
  for (let i = 0; i < callbacks.length; i++) {
    // While the snapshot is the topic's nothing was taken away.
    if (topic.snapshot !== snapshot && slots[i]?.taken) continue;
    try {
      const callback = callbacks[i] as MessageCallback;
      const result: unknown = callback(message, channel);
      if (typeof result === "object") settling(result, report);
    } catch (error) {
      report(error);
    }
  }
}

function snapshotOf(bySlot: Topic["slots"]): Snapshot {
  const slots = [...bySlot.values()];
  return { slots, callbacks: slots.map(({ callback }) => callback) };
}

/** Channels, or patterns, and the callbacks of each. */
class Topics {
  readonly #topics = new Map<string, Topic>();
  /** The number of the delivery that began last. What is registered from then on gets nothing of it. */
  delivery = 0;

  constructor(
    readonly kind: Kind,
    readonly source: Source,
  ) {}

  /** Resolves once the source has the name. */
  add(name: string, owner: unknown, callback: MessageCallback): void | Promise<void> {
    const topic = this.#topics.get(name) ?? this.#register(name);
    if (!topic.slots.has(owner)) {
      topic.slots.set(owner, { callback, taken: false });
      topic.snapshot = undefined;
    }
    return topic.live?.catch((error) => {
      if (this.#topics.get(name) === topic) {
        this.#topics.delete(name);
        this.source.failed();
      }
      throw error;
    });
  }

  get size(): number {
    return this.#topics.size;
  }

  #register(name: string): Topic {
    const isWanted = () => this.#topics.get(name) === topic;
    const live = this.source.register(this.kind, name, isWanted) ?? undefined;
    const topic: Topic = { slots: new Map(), live, since: this.delivery, snapshot: undefined };
    this.#topics.set(name, topic);
    return topic;
  }

  /** Takes away the callback of an owner, or those of all. The name leaves the source with its last one. */
  remove(name: string, owner?: unknown): void | Promise<void> {
    const topic = this.#topics.get(name);
    if (topic === undefined) return;
    for (const leaving of owner === undefined ? [...topic.slots.keys()] : [owner]) {
      const slot = topic.slots.get(leaving);
      if (slot !== undefined) slot.taken = true;
      topic.slots.delete(leaving);
    }
    topic.snapshot = undefined;
    if (topic.slots.size > 0) return;
    this.#topics.delete(name);
    return this.source.unregister(this.kind, name);
  }

  /** The topic of a name, if it is to hear of what is delivered. */
  heard(name: string): Topic | undefined {
    const topic = this.#topics.get(name);
    return topic?.since === this.delivery ? undefined : topic;
  }

  drop(name: string): boolean {
    const topic = this.#topics.get(name);
    if (topic === undefined || topic.since === this.delivery) return false;
    this.#forget(name, topic);
    return true;
  }

  clear(): void {
    for (const [name, topic] of this.#topics) this.#forget(name, topic);
  }

  #forget(name: string, topic: Topic): void {
    for (const slot of topic.slots.values()) slot.taken = true;
    topic.snapshot = undefined;
    this.#topics.delete(name);
  }
}
