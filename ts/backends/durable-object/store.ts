import type { Messages } from "../../../native.js";
import type {
  KVStoreTransaction,
  ListenOptions,
  MessageCallback,
  ScopedSubscription,
  Subscription,
} from "../../adapter.js";
import { checkBoolean, checkFunction, checkNoMore, invalid, reading, text } from "../../arguments.js";
import { type Command, defineMethods } from "../../commands.js";
import { asyncDispose } from "../../dispose.js";
import { calling } from "../../emitter.js";
import { closed, KVError } from "../../errors.js";
import type { ConnectionHealth, Gap, KVStatus } from "../../events.js";
import { known } from "../../options.js";
import type { Kind } from "../../pubsub.js";
import { Store } from "../../store.js";
import { type Ready, Transaction } from "../../transaction.js";
import { Requests, TIMEOUT } from "./requests.js";
import { SubscriberSocket, topic } from "./subscriber-socket.js";
import type { DurableObjectKVOptions, DurableObjectNamespaceLike, DurableObjectStubLike } from "./types.js";
import { noScripts, wireCodec } from "./wire.js";
import { within } from "./within.js";

const DEFAULT_NAME = "covara-kv";

const OPTIONS = ["name", "prefix", "strict", "reconnectDelay"];

/** The longest delay of a timer, in ms: a longer one fires at once. */
const MAX_DELAY = 2 ** 31 - 1;

/**
 * A store in a Durable Object. Commands of one tick leave in one request. Messages arrive by one WebSocket, which is opened again
 * whenever it is lost, until `disconnect`.
 */
export class DurableObjectKVStore extends Store {
  readonly #requests: Requests;
  readonly #reconnectDelay: (attempt: number) => number;
  #status: KVStatus = "connecting";
  /** The socket of `subscribe` and `psubscribe`. */
  #subscriber = this.#newSharedSubscriber();
  /** The sockets of `listen`: each handle has its own. */
  readonly #scoped = new Set<SubscriberSocket>();
  #closing: Promise<void> | undefined;
  /** The number of calls of `disconnect`. */
  #disconnects = 0;

  static {
    defineMethods(this.prototype, (command) => {
      return async function (this: DurableObjectKVStore, ...args: unknown[]) {
        return this.#call(command, args);
      };
    });
  }

  /**
   * Takes a stub, or a function that returns one, which is called for each request: Workers forbid to use a stub in another request than
   * its own. Throws `INVALID_ARGUMENT` for an option of a wrong type. Opens no socket.
   */
  constructor(
    stubOrResolver: DurableObjectStubLike | (() => DurableObjectStubLike),
    options: DurableObjectKVOptions = {},
  ) {
    const method = "DurableObjectKVStore";
    const { prefix, strict, reconnectDelay } = reading(method, () => readOptions(options, method));
    super(prefix);
    const isResolver = typeof stubOrResolver === "function";
    if (!isResolver && typeof stubOrResolver?.fetch !== "function") {
      throw invalid(`${method}: stubOrResolver must be a stub or a function`);
    }
    this.#requests = new Requests(isResolver ? stubOrResolver : () => stubOrResolver, strict);
    this.#reconnectDelay = reconnectDelay;
  }

  /** @internal */
  get status(): KVStatus {
    return this.#status;
  }

  /** @internal Opens nothing: each request reaches the object by itself. */
  async connect(...more: never[]): Promise<void> {
    checkNoMore("connect", 0, more);
    if (this.#status === "closed") {
      const before = this.#disconnects;
      // The `end` of the closed store comes before it is opened again.
      if (this.#closing !== undefined) await within(TIMEOUT, this.#closing);
      // The last call counts.
      if (this.#disconnects !== before) throw closed();
    }
    if (this.#status === "closed") this.#status = "connecting";
    this.#open();
  }

  /** @internal */
  async disconnect(): Promise<void> {
    this.#disconnects += 1;
    if (this.#status !== "closed") {
      this.#status = "closed";
      this.dropCallbacks();
      this.#closing = this.#close();
    }
    await this.#closing;
  }

  /** @internal */
  multi(...more: never[]): KVStoreTransaction {
    checkNoMore("multi", 0, more);
    const runAll = async (calls: readonly Ready<unknown[]>[]) => {
      this.#open();
      return this.#requests.runAll(calls);
    };
    return new Transaction(this.prefix, runAll, wireCodec);
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

  /** @internal Uses a socket of its own, which in a Worker belongs to the request of the caller. */
  protected override async hear(
    channels: readonly string[],
    patterns: readonly string[],
    callback: MessageCallback,
    onGap: ListenOptions["onGap"],
  ): Promise<Subscription> {
    this.#open();
    const call = (run: () => unknown) => {
      if (this.#scoped.has(subscriber)) calling(run, (error) => this.report(error));
    };
    const onMessages = ([, ...messages]: Messages) => {
      for (let i = 0; i < messages.length; i += 3) {
        call(() => callback(messages[i + 2] as string, messages[i + 1] as string));
      }
    };
    const subscriber: SubscriberSocket = this.#newSubscriber(onMessages, (gap) => {
      call(() => onGap?.(gap));
      this.emit("gap", gap);
    });
    this.#scoped.add(subscriber);
    const close = async () => {
      if (this.#scoped.delete(subscriber)) await subscriber.close();
    };
    const topics = (kind: Kind, names: readonly string[]) => names.map((name) => topic(kind, name));
    try {
      await subscriber.add(...topics("channel", channels), ...topics("pattern", patterns));
      if (!this.#scoped.has(subscriber)) throw closed();
    } catch (error) {
      this.#scoped.delete(subscriber);
      throw error;
    }
    return { close, [asyncDispose]: close };
  }

  /** @internal */
  protected async register(kind: Kind, name: string): Promise<void> {
    this.#open();
    await this.#subscriber.add(topic(kind, name));
  }

  /** @internal */
  protected async unregister(kind: Kind, name: string): Promise<void> {
    await this.#subscriber.remove(topic(kind, name));
  }

  /** @internal */
  protected override connections(): ConnectionHealth[] {
    return [this.#subscriber, ...this.#scoped].flatMap((subscriber) => subscriber.health() ?? []);
  }

  #open(): void {
    if (this.#status === "closed") throw closed();
    if (this.#status === "ready") return;
    this.#status = "ready";
    this.emit("ready", { connection: "commands" });
  }

  /** Closes the store after earlier calls have had their effect. */
  async #close(): Promise<void> {
    const subscribers = [this.#subscriber, ...this.#scoped];
    this.#subscriber = this.#newSharedSubscriber();
    this.#scoped.clear();
    void this.#requests.flush();
    await Promise.all([this.#requests.allAnswered(), ...subscribers.map((subscriber) => subscriber.close())]);
    this.emit("end");
  }

  async #call(command: Command, args: readonly unknown[]): Promise<unknown> {
    this.#open();
    const argv = wireCodec.encode(command, args, this.prefix);
    if (argv === undefined) return command.none?.();
    if (command.runsScript) throw noScripts();
    const value = await this.#requests.add(command, argv);
    return wireCodec.decode(command, value, this.prefix);
  }

  /** The delay of the user's function, or the default if that fails or returns no time: attempts must go on. */
  #delayBefore(attempt: number): number {
    try {
      const delay = this.#reconnectDelay(attempt);
      if (delay >= 0) return Math.min(delay, MAX_DELAY);
    } catch (error) {
      this.report(error);
    }
    return defaultDelay(attempt);
  }

  /** The subscriber socket of all callbacks without a handle. */
  #newSharedSubscriber(): SubscriberSocket {
    const onMessages = (messages: Messages) => {
      this.beginDelivery();
      this.deliverAll(messages);
    };
    return this.#newSubscriber(onMessages, (gap) => this.missed(gap));
  }

  #newSubscriber(onMessages: (messages: Messages) => void, onGap: (gap: Gap) => void): SubscriberSocket {
    return new SubscriberSocket({
      request: (request) => this.#requests.fetch(request),
      reconnectDelay: (attempt) => this.#delayBefore(attempt),
      onMessages,
      onReconnecting: (attempt, delay, cause) =>
        this.emit("reconnecting", { connection: "subscriptions", attempt, delay, cause }),
      onReady: () => this.emit("ready", { connection: "subscriptions" }),
      onGap: (from, to) => onGap({ from, to, reason: "connection" }),
    });
  }
}

/**
 * A {@link DurableObjectKVStore} on an object of a namespace, by the name in the options. Throws `CONFIG` if `namespace` is none,
 * `INVALID_ARGUMENT` for an option of a wrong type.
 *
 * @example
 * const kv = createDurableObjectKV(env.COVARA_KV, { prefix: "app" });
 * await kv.set("greeting", "hello");
 * await kv.get("greeting"); // "hello"
 */
export function createDurableObjectKV(
  namespace: DurableObjectNamespaceLike,
  options: DurableObjectKVOptions = {},
): DurableObjectKVStore {
  const method = "createDurableObjectKV";
  if (typeof namespace?.idFromName !== "function" || typeof namespace.get !== "function") {
    throw new KVError("CONFIG", "Durable Object namespace required: env.<its binding>", { reason: "field" });
  }
  const name = reading(method, () => {
    const { name = DEFAULT_NAME } = known(options, OPTIONS, "options", { method });
    return text("options.name").check(name, method);
  });
  return new DurableObjectKVStore(() => namespace.get(namespace.idFromName(name)), options);
}

function readOptions(options: DurableObjectKVOptions, method: string) {
  const {
    prefix = "",
    strict = false,
    reconnectDelay = defaultDelay,
  } = known(options, OPTIONS, "options", { method });
  checkFunction(reconnectDelay, "options.reconnectDelay", method);
  return {
    prefix: text("options.prefix").check(prefix, method),
    strict: checkBoolean(strict, "options.strict", method),
    reconnectDelay: reconnectDelay as (attempt: number) => number,
  };
}

const defaultDelay = (attempt: number) => Math.min(250 * 2 ** (attempt - 1), 5_000);
