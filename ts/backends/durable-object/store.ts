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
import type { Messages } from "../../native.js";
import { known } from "../../options.js";
import type { Kind } from "../../pubsub.js";
import { Store } from "../../store.js";
import { type Ready, Transaction } from "../../transaction.js";
import { type Init, Line, topic, within } from "./line.js";
import type { DurableObjectKVOptions, DurableObjectNamespaceLike, DurableObjectStubLike } from "./types.js";
import {
  type Batch,
  callOf,
  encode,
  errorOf,
  JSON_HEADERS,
  noScripts,
  ORIGIN,
  type Result,
  resultsIn,
  unreachable,
  wireForm,
} from "./wire.js";

const DEFAULT_NAME = "covara-kv";

const OPTIONS = ["name", "prefix", "strict", "reconnectDelay"];

/** More commands than this do not go in one request. */
const MAX_BATCH = 1_000;

/** For what is longer a timer does not wait at all. */
const MAX_DELAY = 2 ** 31 - 1;

/** How long `disconnect` waits for the next answer, in ms. */
const PATIENCE = 5_000;

type Call = Ready<unknown[]>;

/** A call that waits for its request. */
interface Waiting extends Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A store in a Durable Object. Commands that are called in one tick go in one request; what is subscribed comes over
 * one WebSocket, which is opened again whenever it is lost, until `disconnect`.
 */
export class DurableObjectKVStore extends Store {
  readonly #stub: () => DurableObjectStubLike;
  readonly #strict: boolean;
  readonly #reconnectDelay: (attempt: number) => number;
  #status: KVStatus = "connecting";
  #batch: Waiting[] = [];
  /** What the batch has to come after. */
  #before: Promise<unknown> | undefined;
  /** A transaction that was sent in this tick, until the tick is over: what is called in it comes after. Never rejects. */
  #sent: Promise<unknown> | undefined;
  /** Each settles once its requests have been answered. */
  readonly #requests = new Set<Promise<unknown>>();
  /** How many there have been answers to. */
  #answered = 0;
  /** The commands that have met a key of another type: each is warned of once. */
  readonly #mismatched = new Set<string>();
  /** What is subscribed, but for what has a handle. */
  #line = this.#newSharedLine();
  /** The lines of what has one, each with a socket of its own. */
  readonly #lines = new Set<Line>();
  #closing: Promise<void> | undefined;

  static {
    defineMethods(this.prototype, (command) => {
      return async function (this: DurableObjectKVStore, ...args: unknown[]) {
        return this.#call(command, args);
      };
    });
  }

  /**
   * Takes a stub, or what gives one: that is asked for every request, as Workers forbid to use a stub in another
   * request than the one it was made in. Throws `INVALID_ARGUMENT` for an option of a wrong type. Opens nothing yet.
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

  /** @internal There is nothing to connect: every request finds the object by itself. */
  async connect(...more: never[]): Promise<void> {
    checkNoMore("connect", 0, more);
    // One life after the other: its end is told before the next one begins.
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
    return new Transaction(this.prefix, (calls) => this.#runAll(calls), wireForm);
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

  /** @internal By a socket of its own, as in a Worker it belongs to the request that asked for it. */
  protected override async hear(
    channels: readonly string[],
    patterns: readonly string[],
    callback: MessageCallback,
    onGap: ListenOptions["onGap"],
  ): Promise<Subscription> {
    this.#open();
    const call = (run: () => unknown) => {
      if (this.#lines.has(line)) calling(run, (error) => this.report(error));
    };
    const heard = ([, ...messages]: Messages) => {
      for (let i = 0; i < messages.length; i += 3) {
        call(() => callback(messages[i + 2] as string, messages[i + 1] as string));
      }
    };
    const line: Line = this.#newLine(heard, (gap) => {
      call(() => onGap?.(gap));
      this.emit("gap", gap);
    });
    this.#lines.add(line);
    const close = async () => {
      if (this.#lines.delete(line)) await line.close();
    };
    const topics = (kind: Kind, names: readonly string[]) => names.map((name) => topic(kind, name));
    try {
      await line.add(...topics("channel", channels), ...topics("pattern", patterns));
      if (!this.#lines.has(line)) throw closed();
    } catch (error) {
      this.#lines.delete(line);
      throw error;
    }
    return { close, [asyncDispose]: close };
  }

  /** @internal */
  protected async register(kind: Kind, name: string): Promise<void> {
    this.#open();
    await this.#line.add(topic(kind, name));
  }

  /** @internal */
  protected async unregister(kind: Kind, name: string): Promise<void> {
    await this.#line.remove(topic(kind, name));
  }

  /** @internal */
  protected override connections(): ConnectionHealth[] {
    return [this.#line, ...this.#lines].flatMap((line) => line.health() ?? []);
  }

  #open(): void {
    if (this.#status === "closed") throw closed();
    if (this.#status === "ready") return;
    this.#status = "ready";
    this.emit("ready", { connection: "commands" });
  }

  /** What was called before has its effect. */
  async #close(): Promise<void> {
    const lines = [this.#line, ...this.#lines];
    this.#line = this.#newSharedLine();
    this.#lines.clear();
    void this.#flush();
    await Promise.all([this.#allAnswered(), ...lines.map((line) => line.close())]);
    this.emit("end");
  }

  /** Those that a request of a Worker left behind when it ended are never answered: none are waited for once no answer comes. */
  async #allAnswered(): Promise<void> {
    let before: number;
    do {
      before = this.#answered;
      await within(PATIENCE, Promise.all(this.#requests));
    } while (this.#requests.size > 0 && this.#answered > before);
  }

  async #call(command: Command, args: readonly unknown[]): Promise<unknown> {
    this.#open();
    const argv = wireForm.argvOf(command, args, this.prefix);
    if (argv === undefined) return command.none?.();
    if (command.method === "eval") throw noScripts();
    const value = await new Promise((resolve, reject) => {
      const batch = this.#batch;
      if (batch.length === 0) {
        this.#before = this.#sent;
        // Unless a transaction has had it sent.
        afterThis(() => batch === this.#batch && this.#flush());
      }
      batch.push({ command, argv, resolve, reject });
    });
    return command.method === "set" ? undefined : wireForm.resultOf(command, value, this.prefix);
  }

  /** Sends what was called in this tick. Never rejects. */
  #flush(): Promise<void> {
    const [batch, before] = [this.#batch, this.#before];
    this.#batch = [];
    const send = () => this.#sendInOrder(batch);
    return this.#tracked(before === undefined ? send() : before.then(send));
  }

  #tracked<T>(request: Promise<T>): Promise<T> {
    const settled: Promise<unknown> = request.catch(() => {}).then(() => this.#requests.delete(settled));
    this.#requests.add(settled);
    return request;
  }

  /** Requests with stubs of their own might overtake each other: the next one waits for the answer. */
  async #sendInOrder(batch: readonly Waiting[]): Promise<void> {
    for (let from = 0; from < batch.length; from += MAX_BATCH) {
      await this.#settle(batch.slice(from, from + MAX_BATCH));
    }
  }

  async #settle(batch: readonly Waiting[]): Promise<void> {
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

  async #runAll(calls: readonly Call[]): Promise<unknown[]> {
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
  async #request(calls: readonly Call[]): Promise<unknown[]> {
    const body: Batch = {
      commands: calls.map(({ command, argv }) => callOf(command, argv)),
      stopOnError: false,
      strict: this.#strict || undefined,
    };
    const init = { method: "POST", headers: JSON_HEADERS, body: encode(body) };
    const results = await resultsIn(await this.#fetch("/batch", init), calls.length);
    this.#answered += 1;
    return results.map((result, i) => this.#answerOf(result, (calls[i] as Call).command.name));
  }

  #answerOf(result: Result, command: string): unknown {
    if (!result.ok) return errorOf(result, command);
    if (result.mismatched && !this.#mismatched.has(command)) {
      this.#mismatched.add(command);
      warnOfWrongType(command);
    }
    return result.value ?? null;
  }

  async #fetch(path: string, init: Init): Promise<Response> {
    try {
      return await this.#stub().fetch(`${ORIGIN}${path}`, init);
    } catch (cause) {
      throw unreachable("could not be reached", cause);
    }
  }

  /** A function of the user's that fails, or gives no time, must not end the attempts. */
  #delayBefore(attempt: number): number {
    try {
      const delay = this.#reconnectDelay(attempt);
      if (delay >= 0) return Math.min(delay, MAX_DELAY);
    } catch (error) {
      this.report(error);
    }
    return defaultDelay(attempt);
  }

  /** The line of all callbacks that share one. */
  #newSharedLine(): Line {
    const heard = (messages: Messages) => {
      this.beginDelivery();
      this.deliverAll(messages);
    };
    return this.#newLine(heard, (gap) => this.missed(gap));
  }

  #newLine(heard: (messages: Messages) => void, missed: (gap: Gap) => void): Line {
    return new Line({
      request: (query, init) => this.#fetch(`/subscribe${query}`, init),
      reconnectDelay: (attempt) => this.#delayBefore(attempt),
      heard,
      reconnecting: (attempt, delay, cause) =>
        this.emit("reconnecting", { connection: "subscriptions", attempt, delay, cause }),
      missed: (from, to) => missed({ from, to, reason: "connection" }),
    });
  }
}

/**
 * A {@link DurableObjectKVStore} on the object of a namespace with the name of the options. Throws `CONFIG` if that is
 * no namespace, `INVALID_ARGUMENT` for an option of a wrong type.
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

/** As `queueMicrotask`, which fake timers replace. */
const afterThis = (task: () => unknown) => void Promise.resolve().then(task);

const defaultDelay = (attempt: number) => Math.min(250 * 2 ** (attempt - 1), 5_000);
