import { checkFunction } from "./arguments.js";
import { warn } from "./errors.js";

/** Event names, each with the arguments of its listeners. */
type Events<E> = { [K in keyof E]: unknown[] };

type Listener<A extends unknown[]> = (...args: A) => unknown;

interface ListenerEntry {
  readonly listener: Listener<never>;
  readonly once: boolean;
}

/**
 * An event emitter like that of `node:events`, which Workers lack. Two things differ: an `error` without listeners is dropped,
 * and a listener that throws or rejects leads to a warning.
 */
export class Emitter<E extends Events<E>> {
  /** Lists are replaced, never changed: so an emission is not affected by listeners that are added or removed. */
  readonly #entries = new Map<keyof E, readonly ListenerEntry[]>();

  /** Calls `listener` at every `event`. */
  on<K extends keyof E>(event: K, listener: Listener<E[K]>): this {
    return this.#add(event, { listener, once: false });
  }

  /** Calls `listener` at the next `event` only. */
  once<K extends keyof E>(event: K, listener: Listener<E[K]>): this {
    return this.#add(event, { listener, once: true });
  }

  /** Removes a listener: the one added last, if it was added more than once. */
  off<K extends keyof E>(event: K, listener: Listener<E[K]>): this {
    const added = this.#listeners(event).filter((entry) => entry.listener === listener);
    return this.#remove(event, added.at(-1));
  }

  /** The same as `on`. */
  addListener<K extends keyof E>(event: K, listener: Listener<E[K]>): this {
    return this.on(event, listener);
  }

  /** The same as `off`. */
  removeListener<K extends keyof E>(event: K, listener: Listener<E[K]>): this {
    return this.off(event, listener);
  }

  /** The number of listeners of `event`. */
  listenerCount(event: keyof E): number {
    return this.#listeners(event).length;
  }

  /** @internal Calls the listeners of `event`, in the order of their addition. False if there are none. */
  emit<K extends keyof E>(event: K, ...args: E[K]): boolean {
    const entries = this.#listeners(event);
    for (const entry of entries) {
      if (entry.once) {
        // An emission within this one may have called it.
        if (!this.#listeners(event).includes(entry)) continue;
        this.#remove(event, entry);
      }
      const report = (error: unknown) =>
        warn(`A listener of the store's "${String(event)}" event failed`, error);
      calling(() => (entry.listener as unknown as Listener<E[K]>)(...args), report);
    }
    return entries.length > 0;
  }

  #listeners(event: keyof E): readonly ListenerEntry[] {
    return this.#entries.get(event) ?? [];
  }

  #add(event: keyof E, entry: ListenerEntry): this {
    checkFunction(entry.listener, "listener", "on");
    this.#entries.set(event, [...this.#listeners(event), entry]);
    return this;
  }

  #remove(event: keyof E, entry: ListenerEntry | undefined): this {
    this.#entries.set(
      event,
      this.#listeners(event).filter((other) => other !== entry),
    );
    return this;
  }
}

/** Calls a user's function. An error that it throws, or that its Promise rejects with, goes to `report`. */
export function calling(call: () => unknown, report: (error: unknown) => void): void {
  try {
    reportRejection(call(), report);
  } catch (error) {
    report(error);
  }
}

/** Handles the result of a user's function: the rejection of a Promise goes to `report`. */
export function reportRejection(result: unknown, report: (error: unknown) => void): void {
  if (typeof result === "object" && result !== null) Promise.resolve(result).catch(report);
}
