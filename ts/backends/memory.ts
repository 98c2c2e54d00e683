import type { Messages, MemoryStore as NativeMemoryStore, Run } from "../../native.js";
import type { KVStoreTransaction, MessageCallback, ScopedSubscription } from "../adapter.js";
import { checkBoolean, checkNoMore, isText, reading, text } from "../arguments.js";
import { isFaked } from "../clock.js";
import { defineMethods } from "../commands.js";
import { isTraced, tellGap, traced } from "../diagnostics.js";
import { closed, decode, warnOfWrongType } from "../errors.js";
import type { Gap, KVStatus } from "../events.js";
import { commandIndex, MemoryStore } from "../native.js";
import { known } from "../options.js";
import type { Kind } from "../pubsub.js";
import { redisCodec } from "../redis-codec.js";
import { Store } from "../store.js";
import { BATCH, isSliceOver, runFairly, runNow } from "../time-slice.js";
import { type Ready, Transaction } from "../transaction.js";
import { collect } from "./collect.js";
import { fastPathMethod, setMethod } from "./fast-path.js";
import { indexOf } from "./native-commands.js";
import { startSweeping, stopSweeping } from "./sweeper.js";
import { Waiters } from "./waiters.js";

/** The options of a memory store. */
export interface MemoryKVOptions {
  /**
   * Refuse a key of another type, and calls between `disconnect` and `connect`, as Redis does. False by default: then such a key counts as
   * empty, with one warning, and such a call opens the store again, empty.
   */
  strict?: boolean;
  /** One store of this name for all worker threads of the process. By default each store is its own. */
  shared?: string;
}

/** Delivers messages that this thread published. A Promise resolves once they are delivered, if they need more than a time slice. */
type Deliver = () => Promise<void> | undefined;

const SUBSCRIBED = Symbol.for("covara-kv.subscribed");
const realm = globalThis as { [SUBSCRIBED]?: Map<string, Set<Deliver>> };
if (realm[SUBSCRIBED] === undefined) Object.defineProperty(realm, SUBSCRIBED, { value: new Map() });
/**
 * The stores of this thread with subscriptions, by their shared name. A message of one is delivered to all before `publish` resolves.
 * All copies of the package share this map: Jest's `resetModules` loads a second copy.
 */
const subscribed = realm[SUBSCRIBED] as Map<string, Set<Deliver>>;

/** The current function of a store that runs commands. */
let runOf: (store: MemoryKVStore) => Run;

/**
 * A store in this process, which needs no server. Usable before `connect`. After `disconnect` it is empty and usable, unless it is strict:
 * then it refuses calls with `CLOSED` until `connect`, as one on Redis does.
 */
export class MemoryKVStore extends Store {
  readonly #strict: boolean;
  readonly #shared: string | undefined;
  #status: KVStatus = "connecting";
  #native: NativeMemoryStore | undefined;
  /** Opens the store, and runs a command. */
  readonly #openAndRun: Run = (command, ...args) => {
    this.#open();
    return this.#run(command, ...args);
  };
  /** Runs a command. `#open` and `disconnect` replace it, so that a command need not check the state. */
  #run = this.#openAndRun;
  /** Runs a command by the clock of a test. */
  readonly #runOnClock: Run = (command, ...args) => {
    // Other threads use a shared store too, and have another clock.
    if (this.#shared !== undefined) return this.#run(command, ...args);
    return this.#open().runnerOnClock()(Date.now(), command, ...args);
  };
  /** Runs a command that may publish. */
  readonly #publish: Run = (command, ...args) => {
    try {
      return runOf(this)(command, ...args);
    } finally {
      for (const deliver of this.#neighbours()) {
        const delivered = deliver();
        if (delivered !== undefined) this.#undelivered.push(delivered);
      }
    }
  };
  /** The unfinished deliveries of messages that the last command published. */
  readonly #undelivered: Promise<void>[] = [];
  readonly #waiters = new Waiters();
  /** The number of subscribed names, and of patterns among them. */
  #names = 0;
  #patterns = 0;
  #delivering = false;
  /** Whether messages wait until the event loop has turned. */
  #isBehind = false;
  /** Whether this thread has published during a delivery. */
  #again = false;

  static {
    runOf = (store) => (isFaked() ? store.#runOnClock : store.#run);
    const publishOf = (store: MemoryKVStore) => store.#publish;
    defineMethods(this.prototype, (command) => {
      const call = { command, index: indexOf(command), runnerOf: runOf };
      if (command.expiring !== undefined) {
        const { ex, px } = command.expiring;
        return setMethod(call, { ex: commandIndex(ex), px: commandIndex(px) });
      }
      if (!command.publishes) return fastPathMethod(call);
      const publish = fastPathMethod({ ...call, runnerOf: publishOf });
      const isPublish = command.publishes === "message";
      return function (this: MemoryKVStore, ...args: unknown[]) {
        try {
          // First, as it throws for a receiver that is no store.
          const undelivered = this.#undelivered;
          const published =
            isPublish && this.#isForOwnChannels(args)
              ? Promise.resolve(this.#publishHere(args[0], args[1]))
              : publish.call(this, ...args);
          if (undelivered.length === 0) return published;
          return Promise.all([published, ...undelivered.splice(0)]).then(([result]) => result);
        } catch (error) {
          return Promise.reject(error);
        }
      };
    });
  }

  /** Throws `INVALID_ARGUMENT` for a prefix or an option of a wrong type. Opens nothing yet. */
  constructor(prefix = "", options: MemoryKVOptions = {}) {
    const method = "MemoryKVStore";
    super(text("prefix").check(prefix, method));
    const { strict = false, shared } = reading(method, () =>
      known(options, ["strict", "shared"], "options", { method }),
    );
    this.#strict = checkBoolean(strict, "options.strict", method);
    this.#shared = shared === undefined ? undefined : text("options.shared").check(shared, method);
  }

  /** @internal */
  get status(): KVStatus {
    return this.#status;
  }

  /** @internal */
  async connect(...more: never[]): Promise<void> {
    checkNoMore("connect", 0, more);
    if (this.#status === "closed") this.#status = "connecting";
    this.#open();
  }

  /** @internal */
  async disconnect(): Promise<void> {
    if (this.#status === "closed") return;
    this.#status = "closed";
    this.#run = this.#openAndRun;
    this.dropCallbacks();
    this.#waiters.none();
    this.#names = 0;
    this.#patterns = 0;
    this.#isBehind = false;
    this.#leaveNeighbours();
    if (this.#native !== undefined) {
      this.#native.close();
      this.#native = undefined;
      stopSweeping();
    }
    this.emit("end");
  }

  /** @internal */
  multi(...more: never[]): KVStoreTransaction {
    checkNoMore("multi", 0, more);
    const runAll = (commands: readonly Ready[]) => {
      if (!isTraced()) return this.#runAll(commands);
      const message = { command: "EXEC", backend: "memory", prefix: this.prefix } as const;
      return traced(message, () => this.#runAll(commands));
    };
    return new Transaction(this.prefix, runAll, redisCodec);
  }

  /** @internal */
  override async subscribeScoped(
    channels: readonly string[],
    callback: MessageCallback,
    ...more: never[]
  ): Promise<ScopedSubscription> {
    checkNoMore("subscribeScoped", 2, more);
    return this.scoped("subscribeScoped", channels, callback);
  }

  /** @internal */
  protected register(kind: Kind, name: string, isWanted: () => boolean): void {
    const native = this.#open();
    // A listener of `ready` has disconnected the store.
    if (!isWanted()) throw closed();
    try {
      if (kind === "channel") native.subscribe(name);
      else native.psubscribe(name);
    } catch (error) {
      throw decode(error);
    }
    this.#names += 1;
    if (kind === "pattern") this.#patterns += 1;
    if (this.#shared === undefined) return;
    const stores = subscribed.get(this.#shared) ?? new Set();
    subscribed.set(this.#shared, stores.add(this.#deliverOwn));
  }

  /** @internal */
  protected unregister(kind: Kind, name: string): void {
    if (kind === "channel") this.#native?.unsubscribe(name);
    else this.#native?.punsubscribe(name);
    this.#names -= 1;
    if (kind === "pattern") this.#patterns -= 1;
    if (this.#names === 0) this.#leaveNeighbours();
  }

  /** @internal */
  protected override missed(gap: Gap): void {
    tellGap("memory", gap);
    super.missed(gap);
  }

  /** @internal */
  protected override checkOpen(): void {
    // Tests and hot reloads disconnect a store, and continue to use it.
    if (this.#strict) super.checkOpen();
  }

  #open(): NativeMemoryStore {
    this.checkOpen();
    if (this.#native !== undefined) return this.#native;
    const native = this.#openNative();
    this.#native = native;
    this.#run = native.runner();
    this.#status = "ready";
    startSweeping();
    this.emit("ready", { connection: "commands" });
    // A listener may have disconnected the store, and opened it again.
    return this.#native ?? native;
  }

  #openNative(): NativeMemoryStore {
    // The native store references its callbacks: a strong reference would keep both from being collected.
    const self = new WeakRef(this);
    const deliver = () => {
      const store = self.deref();
      if (store !== undefined) runFairly(store.#deliver);
    };
    const options = {
      strict: this.#strict,
      // Always set: native code would read it from Object.prototype too.
      prefix: this.prefix || undefined,
      shared: this.#shared,
    };
    try {
      return new MemoryStore(options, warnOfWrongType, deliver, collect);
    } catch (error) {
      throw decode(error);
    }
  }

  #runAll(commands: readonly Ready[]): unknown[] {
    try {
      const clock = isFaked() && this.#shared === undefined ? Date.now() : undefined;
      return this.#open().exec(
        commands.map(({ command, argv }) => [indexOf(command), ...argv]),
        clock,
      );
    } catch (error) {
      throw decode(error, "EXEC");
    }
  }

  /** The stores of this thread that may have subscribers of a message published here. */
  #neighbours(): Iterable<Deliver> {
    if (this.#shared !== undefined) return subscribed.get(this.#shared) ?? [];
    return this.#names > 0 ? [this.#deliverOwn] : [];
  }

  #leaveNeighbours(): void {
    if (this.#shared === undefined) return;
    const stores = subscribed.get(this.#shared);
    if (stores?.delete(this.#deliverOwn) && stores.size === 0) subscribed.delete(this.#shared);
  }

  /** Whether only channels of this store can get a message, and no earlier message waits. */
  #isForOwnChannels(args: unknown[]): args is [channel: string, message: string] {
    const isAlone = this.#native !== undefined && this.#shared === undefined && this.#patterns === 0;
    const isInTurn = !this.#delivering && !this.#isBehind && !isTraced();
    return isAlone && isInTurn && args.length === 2 && isText(args[0]) && isText(args[1]);
  }

  /** Publishes without the native store, which would only return the message: with many callbacks 5 times as fast. */
  #publishHere(channel: string, message: string): number {
    this.#delivering = true;
    this.#again = false;
    try {
      return this.deliverOne(channel, message) ? 1 : 0;
    } finally {
      this.#delivering = false;
      const delivered = this.#again ? this.#deliverOwn() : undefined;
      if (delivered !== undefined) this.#undelivered.push(delivered);
    }
  }

  /** Delivers messages that this thread published. */
  readonly #deliverOwn: Deliver = () => {
    if (this.#delivering) {
      this.#again = true;
      return undefined;
    }
    return runNow(this.#deliver) ? this.#waiters.until(this.#native?.waiting() ?? 0) : undefined;
  };

  /**
   * Takes messages and calls the callbacks. A message that a callback publishes is delivered by the same loop, after earlier messages: so
   * every callback sees the order of the channel.
   */
  readonly #deliver = (): boolean => {
    if (this.#delivering) return false;
    this.#delivering = true;
    this.#isBehind = true;
    try {
      while (this.#deliverSome()) if (isSliceOver()) return true;
      this.#isBehind = false;
      return false;
    } finally {
      this.#delivering = false;
    }
  };

  /** True if there may be more. */
  #deliverSome(): boolean {
    this.#again = false;
    const messages: Messages = this.#native?.takeMessages(BATCH) ?? [0];
    this.deliverTaken(messages);
    const isMore = messages[0] === null;
    this.#waiters.delivered((messages.length - 1) / 3, !isMore);
    return isMore || this.#again;
  }
}

/**
 * A {@link MemoryKVStore}. Throws `INVALID_ARGUMENT` for a prefix or an option of a wrong type.
 *
 * @example
 * const kv = createMemoryKV("app", { strict: true });
 * await kv.sadd("tags", "redis");
 * await kv.get("tags").catch((error) => error.code); // "WRONGTYPE"
 */
export function createMemoryKV(prefix?: string, options?: MemoryKVOptions): MemoryKVStore {
  return new MemoryKVStore(prefix, options);
}
