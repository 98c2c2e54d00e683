import type { MessageCallback, Subscription } from "./adapter.js";
import { asyncDispose } from "./dispose.js";
import { calling, reportRejection } from "./emitter.js";
import type { Gap } from "./events.js";

/** `streams`: callbacks of `subscribe` on the channels of the fan-out, which may get fewer messages than others. */
export type Kind = "channel" | "pattern" | "streams";

/**
 * The subscriptions of a backend, in the order of the calls. A returned Promise resolves once the change is live. Without one it is
 * live at once, and PubSub does not wait either.
 */
export interface SubscriptionBackend {
  /**
   * Have what is published to a name delivered. Called once for each name, however many callbacks it has. `isWanted` tells later whether
   * the name is still registered by this call.
   */
  register(kind: Kind, name: string, isWanted: () => boolean): void | Promise<void>;
  unregister(kind: Kind, name: string): void | Promise<void>;
  /** A name is forgotten, as its registration has failed. */
  failed(): void;
}

/** The callbacks of a store, by channel and by pattern. */
export class PubSub {
  readonly #report: (error: unknown) => void;
  readonly #byKind: Record<Kind, CallbacksByName>;
  readonly #onGap = new Set<{ readonly call: (gap: Gap) => unknown }>();

  /** An error of a callback goes to `report`, and affects neither the publisher nor other callbacks. */
  constructor(backend: SubscriptionBackend, report: (error: unknown) => void) {
    this.#report = report;
    this.#byKind = {
      channel: new CallbacksByName("channel", backend),
      pattern: new CallbacksByName("pattern", backend),
      streams: new CallbacksByName("streams", backend),
    };
  }

  /** Adds a callback. Resolves once live. The same callback is added once. */
  subscribe(kind: Kind, name: string, callback: MessageCallback): void | Promise<void> {
    return this.#byKind[kind].add(name, callback, callback);
  }

  /** Removes all callbacks of a name. */
  unsubscribe(kind: Kind, name: string): void | Promise<void> {
    return this.#byKind[kind].remove(name);
  }

  /** Adds a callback. Resolves, once live, to a handle that removes only this addition of it. */
  listen(
    channels: readonly string[],
    patterns: readonly string[],
    callback: MessageCallback,
    onGap: ((gap: Gap) => unknown) | undefined,
  ): Subscription | Promise<Subscription> {
    const { channel, pattern } = this.#byKind;
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
      // The first error counts, not one of leaving the others.
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

  /** Begins the delivery of messages that have arrived: callbacks that are added from now on do not get them. */
  beginDelivery(): void {
    for (const names of Object.values(this.#byKind)) names.delivery += 1;
  }

  /** Calls the callbacks of a channel, or of the pattern that matched it. False if there are none. */
  deliver(pattern: string | null, channel: string, message: string): boolean {
    if (pattern === null) return this.deliverTo("channel", channel, channel, message);
    return this.deliverTo("pattern", pattern, channel, message);
  }

  /** Calls the callbacks of a name. False if there are none. */
  deliverTo(kind: Kind, name: string, channel: string, message: string): boolean {
    const named = this.#byKind[kind].heard(name);
    if (named === undefined) return false;
    named.snapshot ??= snapshotOf(named.entries);
    callEach(named, named.snapshot, channel, message, this.#report);
    return true;
  }

  /** Calls the `onGap` functions: messages may have been missed. */
  missed(gap: Gap): void {
    for (const owner of [...this.#onGap]) {
      // One before may have closed it.
      if (this.#onGap.has(owner)) calling(() => owner.call(gap), this.#report);
    }
  }

  /** Removes a name that the backend has lost, without unregistering it. False if it was registered again meanwhile. */
  drop(kind: Kind, name: string): boolean {
    return this.#byKind[kind].drop(name);
  }

  /** Whether no name is registered, nor about to be. */
  get isEmpty(): boolean {
    return Object.values(this.#byKind).every(({ size }) => size === 0);
  }

  /** Forgets everything without telling the backend. */
  clear(): void {
    for (const names of Object.values(this.#byKind)) names.clear();
    this.#onGap.clear();
  }
}

/** Resolves once all changes are live. Undefined if they are live already. */
function allOf(changes: (void | Promise<void>)[]): Promise<unknown> | undefined {
  const pending = changes.filter((change) => change !== undefined);
  return pending.length === 0 ? undefined : Promise.all(pending);
}

/** One callback on one name. */
interface CallbackEntry {
  readonly callback: MessageCallback;
  /** Perhaps by an earlier callback of the current delivery. */
  removed: boolean;
}

/** The callbacks of one name. */
interface Callbacks {
  /** By owner: the callback itself, or its handle. */
  readonly entries: Map<unknown, CallbackEntry>;
  /** Settles when the backend has registered the name. */
  live: Promise<void> | undefined;
  /** The number of the last delivery that began before it was registered. */
  readonly since: number;
  /** The callbacks for a delivery. Replaced after a change, so that a running delivery is not affected. */
  snapshot: Snapshot | undefined;
}

interface Snapshot {
  readonly entries: readonly CallbackEntry[];
  /** The callback of each entry. */
  readonly callbacks: readonly MessageCallback[];
}

/** `calling` for each callback, without a closure. A separate function with an index: V8 runs it a third faster than in a method. */
function callEach(
  named: Callbacks,
  snapshot: Snapshot,
  channel: string,
  message: string,
  report: (error: unknown) => void,
): void {
  const { callbacks, entries } = snapshot;
  for (let i = 0; i < callbacks.length; i++) {
    // While the snapshot is current, no callback was removed.
    if (named.snapshot !== snapshot && entries[i]?.removed) continue;
    try {
      const callback = callbacks[i] as MessageCallback;
      const result: unknown = callback(message, channel);
      if (typeof result === "object") reportRejection(result, report);
    } catch (error) {
      report(error);
    }
  }
}

function snapshotOf(byOwner: Callbacks["entries"]): Snapshot {
  const entries = [...byOwner.values()];
  return { entries, callbacks: entries.map(({ callback }) => callback) };
}

/** Channels, or patterns, and the callbacks of each. */
class CallbacksByName {
  readonly #byName = new Map<string, Callbacks>();
  /** The number of the last delivery. Names that are registered later do not get it. */
  delivery = 0;

  constructor(
    readonly kind: Kind,
    readonly backend: SubscriptionBackend,
  ) {}

  /** Adds a callback. Resolves once the name is live. */
  add(name: string, owner: unknown, callback: MessageCallback): void | Promise<void> {
    const named = this.#byName.get(name) ?? this.#register(name);
    if (!named.entries.has(owner)) {
      named.entries.set(owner, { callback, removed: false });
      named.snapshot = undefined;
    }
    return named.live?.catch((error) => {
      if (this.#byName.get(name) === named) {
        this.#byName.delete(name);
        this.backend.failed();
      }
      throw error;
    });
  }

  get size(): number {
    return this.#byName.size;
  }

  #register(name: string): Callbacks {
    const named: Callbacks = {
      entries: new Map(),
      live: undefined,
      since: this.delivery,
      snapshot: undefined,
    };
    const isWanted = () => this.#byName.get(name) === named;
    // Before the backend is asked: it may open the store, whose listener may subscribe the same name.
    this.#byName.set(name, named);
    try {
      named.live = this.backend.register(this.kind, name, isWanted) ?? undefined;
    } catch (error) {
      if (isWanted()) this.#byName.delete(name);
      throw error;
    }
    return named;
  }

  /** Removes the callback of an owner, or all. The last one unregisters the name. */
  remove(name: string, owner?: unknown): void | Promise<void> {
    const named = this.#byName.get(name);
    if (named === undefined) return;
    for (const leaving of owner === undefined ? [...named.entries.keys()] : [owner]) {
      const entry = named.entries.get(leaving);
      if (entry !== undefined) entry.removed = true;
      named.entries.delete(leaving);
    }
    named.snapshot = undefined;
    if (named.entries.size > 0) return;
    this.#byName.delete(name);
    return this.backend.unregister(this.kind, name);
  }

  /** The callbacks of a name, if it was registered before the current delivery. */
  heard(name: string): Callbacks | undefined {
    const named = this.#byName.get(name);
    return named?.since === this.delivery ? undefined : named;
  }

  drop(name: string): boolean {
    const named = this.#byName.get(name);
    if (named === undefined || named.since === this.delivery) return false;
    this.#forget(name, named);
    return true;
  }

  clear(): void {
    for (const [name, named] of this.#byName) this.#forget(name, named);
  }

  #forget(name: string, named: Callbacks): void {
    for (const entry of named.entries.values()) entry.removed = true;
    named.snapshot = undefined;
    this.#byName.delete(name);
  }
}
