import type { Messages } from "../native.js";
import type { KVStore, KVStoreTransaction, ListenOptions, MessageCallback, Subscription } from "./adapter.js";
import { checkFunction, checkNoMore, reading, strings, text } from "./arguments.js";
import { asyncDispose } from "./dispose.js";
import { Emitter } from "./emitter.js";
import { closed, isError, warn } from "./errors.js";
import type { ConnectionHealth, Gap, KVEvents, KVHealth, KVStatus } from "./events.js";
import { known } from "./options.js";
import { overflowSince } from "./overflow.js";
import { promised } from "./promised.js";
import { type Kind, PubSub } from "./pubsub.js";

export interface Store extends KVStore {}

/**
 * The base of all backends: events and subscriptions. KVStore documents the methods. They are internal here, so that the public types
 * show them once.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: made from the command table
export abstract class Store extends Emitter<KVEvents> implements KVStore {
  /** The prefix that the store adds to each key, with a colon. Empty for none. */
  readonly prefix: string;
  readonly #pubsub = new PubSub(
    {
      register: (kind, name, isWanted) => this.register(kind, name, isWanted),
      unregister: (kind, name) => this.unregister(kind, name),
      failed: () => this.topicLeft(),
    },
    (error) => this.report(error),
  );

  /** @internal */
  constructor(prefix: string) {
    super();
    this.prefix = prefix;
  }

  /** @internal */
  abstract connect(): Promise<void>;
  /** @internal */
  abstract disconnect(): Promise<void>;
  /** @internal */
  abstract get status(): KVStatus;
  /** @internal */
  abstract multi(): KVStoreTransaction;
  /** @internal */
  protected abstract register(kind: Kind, name: string, isWanted: () => boolean): void | Promise<void>;
  /** @internal */
  protected abstract unregister(kind: Kind, name: string): void | Promise<void>;

  /** @internal */
  isConnected(): boolean {
    return this.status === "ready";
  }

  /** @internal */
  async health(): Promise<KVHealth> {
    return { status: this.status, connections: this.connections() };
  }

  /** @internal The state of each connection. */
  protected connections(): ConnectionHealth[] {
    return [];
  }

  /** @internal */
  async [asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** @internal */
  subscribe(channel: string, callback: MessageCallback, ...more: never[]): Promise<void> {
    return promised(() => this.#join("subscribe", this.kindOf(channel), channel, callback, more));
  }

  /** @internal */
  psubscribe(pattern: string, callback: MessageCallback, ...more: never[]): Promise<void> {
    return promised(() => this.#join("psubscribe", "pattern", pattern, callback, more));
  }

  /** @internal */
  unsubscribe(channel: string, ...more: never[]): Promise<void> {
    return promised(() => this.#leave("unsubscribe", this.kindOf(channel), channel, more));
  }

  /** @internal */
  punsubscribe(pattern: string, ...more: never[]): Promise<void> {
    return promised(() => this.#leave("punsubscribe", "pattern", pattern, more));
  }

  /** @internal The kind of subscription that `subscribe` of a channel makes. */
  protected kindOf(_channel: string): Kind {
    return "channel";
  }

  /** @internal */
  async listen(
    channels: readonly string[],
    callback: MessageCallback,
    options: ListenOptions = {},
    ...more: never[]
  ): Promise<Subscription> {
    checkNoMore("listen", 3, more);
    return this.scoped("listen", channels, callback, options);
  }

  /** @internal The same as `listen`, with the name of another method in errors. */
  protected scoped(
    method: string,
    channels: readonly string[],
    callback: MessageCallback,
    options: ListenOptions = {},
  ): Subscription | Promise<Subscription> {
    const { names, globs, onGap } = reading(method, () => {
      const { patterns = [], onGap } = known(options, ["patterns", "onGap"], "options", { method });
      checkFunction(callback, "callback", method);
      if (onGap !== undefined) checkFunction(onGap, "options.onGap", method);
      return {
        names: strings(channels, "channels", method),
        globs: strings(patterns, "options.patterns", method),
        onGap: onGap as ListenOptions["onGap"],
      };
    });
    this.checkOpen();
    return this.hear(names, globs, callback, onGap);
  }

  /** @internal Adds a callback. Resolves, once live, to a handle that removes only this one. */
  protected hear(
    channels: readonly string[],
    patterns: readonly string[],
    callback: MessageCallback,
    onGap: ListenOptions["onGap"],
  ): Subscription | Promise<Subscription> {
    return this.#pubsub.listen(channels, patterns, callback, onGap);
  }

  /** @internal Begins the delivery of messages that have arrived: callbacks that are added from now on do not get them. */
  protected beginDelivery(): void {
    this.#pubsub.beginDelivery();
  }

  /** @internal Delivers messages that were taken, and reports a gap for dropped ones. */
  protected deliverTaken(messages: Messages, kind?: "streams"): void {
    const [since] = messages;
    const gap = since ? overflowSince(since) : undefined;
    this.beginDelivery();
    this.deliverAll(messages, kind);
    // A callback may have disconnected the store.
    if (gap !== undefined && this.status !== "closed") this.missed(gap, kind);
  }

  /** @internal Delivers one message. False if the channel has no callbacks. */
  protected deliverOne(channel: string, message: string): boolean {
    this.beginDelivery();
    return this.#pubsub.deliver(null, channel, message);
  }

  /** @internal Delivers each message to the callbacks of its channel, or of the pattern that matched it. */
  protected deliverAll(messages: Messages, kind?: "streams"): void {
    for (let i = 1; i < messages.length; i += 3) {
      const [channel, message] = [messages[i + 1] as string, messages[i + 2] as string];
      if (kind === undefined) this.#pubsub.deliver(messages[i] as string | null, channel, message);
      else this.#pubsub.deliverTo(kind, channel, channel, message);
    }
  }

  /** @internal Delivers a message of our own, which was not published, to the callbacks of `subscribe`. */
  protected deliverToStreams(channel: string, message: string): void {
    this.beginDelivery();
    this.#pubsub.deliverTo("streams", channel, channel, message);
  }

  /** @internal Tells of a gap. One of the streams is no gap of callbacks of `listen`, whose messages come another way. */
  protected missed(gap: Gap, kind?: "streams"): void {
    if (kind === undefined) this.callOnGap(gap);
    this.emit("gap", gap);
  }

  /** @internal */
  protected callOnGap(gap: Gap): void {
    this.#pubsub.missed(gap);
  }

  /** @internal Removes a name that the backend has lost, so that the next callback subscribes it again. False if one has already. */
  protected dropTopic(kind: Kind, name: string): boolean {
    return this.#pubsub.drop(kind, name);
  }

  /** @internal Whether anything is subscribed, or is about to be. */
  protected get hasTopics(): boolean {
    return !this.#pubsub.isEmpty;
  }

  /** @internal Called when a name has been removed, for example because its registration failed. */
  protected topicLeft(): void {}

  /** @internal Takes away all callbacks of a store that is closed. */
  protected dropCallbacks(): void {
    this.#pubsub.clear();
  }

  /** @internal Reports the error of a callback, which no Promise can: by an event, or else a warning. */
  protected report(error: unknown): void {
    const what = "A callback of a subscription failed";
    if (this.listenerCount("error") === 0) warn(what, error);
    else this.emit("error", isError(error) ? error : new Error(what, { cause: error }));
  }

  async #join(
    method: string,
    kind: Kind,
    name: string,
    callback: MessageCallback,
    more: never[],
  ): Promise<void> {
    checkNoMore(method, 2, more);
    text(kind === "pattern" ? kind : "channel").check(name, method);
    checkFunction(callback, "callback", method);
    this.checkOpen();
    const live = this.#pubsub.subscribe(kind, name, callback);
    if (live !== undefined) await live;
  }

  async #leave(method: string, kind: Kind, name: string, more: never[]): Promise<void> {
    checkNoMore(method, 1, more);
    text(kind === "pattern" ? kind : "channel").check(name, method);
    this.checkOpen();
    const left = [this.#pubsub.unsubscribe(kind, name)];
    // This also removes the callbacks of `listen`.
    if (kind === "streams") left.push(this.#pubsub.unsubscribe("channel", name));
    const pending = left.filter((each) => each !== undefined);
    if (pending.length > 0) await Promise.all(pending);
  }

  /** @internal Throws CLOSED for a store that was disconnected. */
  protected checkOpen(): void {
    if (this.status === "closed") throw closed();
  }
}
