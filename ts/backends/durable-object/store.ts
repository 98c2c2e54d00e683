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
import { closed, KVError, warnOfWrongType } from "../../errors.js";
import type { ConnectionHealth, Gap, KVStatus } from "../../events.js";
import { known } from "../../options.js";
import type { Kind } from "../../pubsub.js";
import { Store } from "../../store.js";
import { type Ready, Transaction } from "../../transaction.js";
import { SubscriberSocket, topic, within } from "./subscriber-socket.js";
import type { DurableObjectKVOptions, DurableObjectNamespaceLike, DurableObjectStubLike } from "./types.js";
import {
  batchRequest,
  noScripts,
  type Outcome,
  readBatchResponse,
  unreachable,
  type WireRequest,
  wireCodec,
} from "./wire.js";

const DEFAULT_NAME = "covara-kv";

const OPTIONS = ["name", "prefix", "strict", "reconnectDelay"];

/** The most commands of one request. */
const MAX_BATCH = 1_000;

/** The longest delay of a timer, in ms: a longer one fires at once. */
const MAX_DELAY = 2 ** 31 - 1;

/** How long `disconnect` waits for the next answer, in ms. */
const TIMEOUT = 5_000;

type ReadyCall = Ready<unknown[]>;

/** A call that waits for its request. */
interface WaitingCall extends ReadyCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A store in a Durable Object. Commands of one tick leave in one request. Messages arrive by one WebSocket, which is opened again
 * whenever it is lost, until `disconnect`.
 */
export class DurableObjectKVStore extends Store {
  readonly #stub: () => DurableObjectStubLike;
  readonly #strict: boolean;
  readonly #reconnectDelay: (attempt: number) => number;
  #status: KVStatus = "connecting";
  #batch: WaitingCall[] = [];
  /** The request that the batch must follow. */
  #before: Promise<unknown> | undefined;
  /** A transaction that was sent in this tick: later commands of the tick must follow it. Never rejects. */
  #sent: Promise<unknown> | undefined;
  /** Unanswered requests. None rejects. */
  readonly #requests = new Set<Promise<unknown>>();
  /** The number of answered requests. */
  #answered = 0;
  /** Commands that have met a key of another type. Each gets one warning. */
  readonly #mismatched = new Set<string>();
  /** The socket of `subscribe` and `psubscribe`. */
  #subscriber = this.#newSharedSubscriber();
  /** The sockets of `listen`: each handle has its own. */
  readonly #scoped = new Set<SubscriberSocket>();
  #closing: Promise<void> | undefined;

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
    this.#stub = isResolver ? stubOrResolver : () => stubOrResolver;
    this.#strict = strict;
    this.#reconnectDelay = reconnectDelay;
  }

  /** @internal */
  get status(): KVStatus {
    return this.#status;
  }

  /** @internal Opens nothing: each request reaches the object by itself. */
  async connect(...more: never[]): Promise<void> {
    checkNoMore("connect", 0, more);
    // The `end` of the closed store comes before it is opened again.
    if (this.#status === "closed") await this.#closing;
    if (this.#status === "closed") this.#status = "connecting";
    this.#open();
  }

  /** @internal */
  async disconnect(): Promise<void> {
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
    return new Transaction(this.prefix, (calls) => this.#runAll(calls), wireCodec);
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
    void this.#flush();
    await Promise.all([this.#allAnswered(), ...subscribers.map((subscriber) => subscriber.close())]);
    this.emit("end");
  }

  /** Waits for unanswered requests, while answers arrive: requests of a Worker that has ended are never answered. */
  async #allAnswered(): Promise<void> {
    let before: number;
    do {
      before = this.#answered;
      await within(TIMEOUT, Promise.all(this.#requests));
    } while (this.#requests.size > 0 && this.#answered > before);
  }

  async #call(command: Command, args: readonly unknown[]): Promise<unknown> {
    this.#open();
    const argv = wireCodec.encode(command, args, this.prefix);
    if (argv === undefined) return command.none?.();
    if (command.runsScript) throw noScripts();
    const value = await new Promise((resolve, reject) => {
      const batch = this.#batch;
      if (batch.length === 0) {
        this.#before = this.#sent;
        // Unless a transaction has sent the batch already.
        afterThis(() => batch === this.#batch && this.#flush());
      }
      batch.push({ command, argv, resolve, reject });
    });
    return wireCodec.decode(command, value, this.prefix);
  }

  /** Sends the commands of this tick. Never rejects. */
  #flush(): Promise<void> {
    const [batch, before] = [this.#batch, this.#before];
    this.#batch = [];
    const send = () => this.#sendInOrder(batch);
    return this.#tracked(before === undefined ? send() : before.then(send));
  }

  #tracked<T>(request: Promise<T>): Promise<T> {
    const tracked: Promise<unknown> = request.catch(() => {}).then(() => this.#requests.delete(tracked));
    this.#requests.add(tracked);
    return request;
  }

  /** Each request waits for the previous answer: requests by different stubs may overtake each other. */
  async #sendInOrder(batch: readonly WaitingCall[]): Promise<void> {
    for (let from = 0; from < batch.length; from += MAX_BATCH) {
      await this.#sendBatch(batch.slice(from, from + MAX_BATCH));
    }
  }

  async #sendBatch(batch: readonly WaitingCall[]): Promise<void> {
    try {
      const answers = await this.#request(batch);
      for (const [i, { resolve, reject }] of batch.entries()) {
        const answer = answers[i];
        if (answer instanceof KVError) reject(answer);
        else resolve(answer);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  async #runAll(calls: readonly ReadyCall[]): Promise<unknown[]> {
    this.#open();
    const before = this.#batch.length > 0 ? this.#flush() : this.#sent;
    const run = before === undefined ? this.#request(calls) : before.then(() => this.#request(calls));
    const sent = run.catch(() => {});
    this.#sent = sent;
    afterThis(() => {
      if (this.#sent === sent) this.#sent = undefined;
    });
    return this.#tracked(run);
  }

  /** The value of each call, or its error. */
  async #request(calls: readonly ReadyCall[]): Promise<unknown[]> {
    const commands = calls.map(({ command }) => command);
    const response = await this.#fetch(batchRequest(calls, this.#strict));
    const outcomes = await readBatchResponse(response, commands);
    this.#answered += 1;
    return outcomes.map((outcome, i) => this.#answerOf(outcome, (commands[i] as Command).name));
  }

  #answerOf(outcome: Outcome, command: string): unknown {
    if ("error" in outcome) return outcome.error;
    if (outcome.mismatched && !this.#mismatched.has(command)) {
      this.#mismatched.add(command);
      warnOfWrongType(command);
    }
    return outcome.value;
  }

  async #fetch({ url, init }: WireRequest): Promise<Response> {
    try {
      return await this.#stub().fetch(url, init);
    } catch (cause) {
      throw unreachable("could not be reached", cause);
    }
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
      request: (request) => this.#fetch(request),
      reconnectDelay: (attempt) => this.#delayBefore(attempt),
      onMessages,
      onReconnecting: (attempt, delay, cause) =>
        this.emit("reconnecting", { connection: "subscriptions", attempt, delay, cause }),
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

/** The same as `queueMicrotask`, which fake timers replace. */
const afterThis = (task: () => unknown) => void Promise.resolve().then(task);

const defaultDelay = (attempt: number) => Math.min(250 * 2 ** (attempt - 1), 5_000);
