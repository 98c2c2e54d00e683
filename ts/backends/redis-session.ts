import type {
  Messages,
  FanoutThread as NativeFanoutThread,
  RedisClient as NativeRedisClient,
  RedisEvent,
  RedisHealth,
  RedisNode,
  RedisOptions,
  RedisSentinel,
  RedisServer,
  Reply,
} from "../../native.js";
import { type Command, commandOf } from "../commands.js";
import { decode, isError, KVError } from "../errors.js";
import { RedisClient } from "../native.js";
import { argvOf, isPlain, resultOf } from "../redis-codec.js";
import { BATCH, BatchSize, isSliceOver, runFairly } from "../time-slice.js";
import { monotonic, nextTick } from "../timers.js";
import type { Ready } from "../transaction.js";
import { collect } from "./collect.js";
import { indexOf } from "./native-commands.js";
import type { AskFunctions, Question } from "./redis-functions.js";
import { Ring } from "./ring.js";

/** A batch of more values is sent before the tick ends: they are arguments on the stack. */
const MOST_VALUES = 1_000;
/** A batch of more text is sent before the tick ends, so that the server can start on it. */
const MOST_TEXT = 64 * 1024;

/** Called with what happens in a session. */
export interface SessionCallbacks {
  /** An event of the connection. */
  happened(event: RedisEvent): void;
  /** Messages have arrived. */
  heard(messages: Messages): void;
  /** A command failed. `first` is its first argument. */
  failed(error: unknown, command: Command, first: unknown): void;
  /** Asks the functions of the configuration. */
  readonly askFunctions?: AskFunctions | undefined;
}

type OnQuestion = NonNullable<ConstructorParameters<typeof NativeRedisClient>[3]>;

/** What a node of a cluster says of itself, and its reply to a command. */
export interface NodeAnswer {
  readonly version: string;
  readonly role: string;
  /** In ms. */
  readonly latency: number;
  readonly reply: unknown;
}

/** A Promise that waits for an answer. */
interface WaitingRequest {
  /** Undefined for requests that are no command. */
  readonly command: Command | undefined;
  /** The first argument of the command. The others are not kept, as values may be long. */
  readonly first?: unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

const EVAL = commandOf("eval");
/** Less the number of a command: its keys are channels, which have no prefix. */
const KEYED_BY_CHANNELS = -1;

const soon = Promise.resolve();

/** Not closures, which each batch would create again. */
let flush: (session: Session) => void;
let take: (session: Session | undefined) => void;
let askFunctions: (session: Session | undefined, number: number, question: Question) => void;

/**
 * Sessions with unanswered requests or subscriptions. Others live as long as their stores: native code does not reference them, so
 * that a dropped store is collected, and its connections are closed.
 */
const awaited = new Set<Session>();

/**
 * A store between `connect` and `disconnect`. Commands of one tick leave as one batch. Each Promise gets its answer.
 */
export class Session {
  readonly #prefix: string;
  readonly #callbacks: SessionCallbacks;
  readonly #native: NativeRedisClient;
  readonly #send: (first: number, ...entries: unknown[]) => void;
  readonly #waiting = new Ring<WaitingRequest>();
  /** Entries in the form that src/addon/redis/batch.rs reads, with consecutive ids. */
  #batch: unknown[] = [];
  /** The id of the batch's first entry. */
  #first = 0;
  #text = 0;
  #started = false;
  /** The number of Promises that wait for an answer. */
  #unanswered = 0;
  #isSubscribed = false;
  readonly #batchSize = new BatchSize();
  /** The number of answers of this take, and the time of the first, if there are many. */
  #answeredNow = 0;
  #answeringSince = 0;

  /**
   * Opens no connection. Throws `CONFIG` for a wrong address or certificate. In place of options `store` may be the session of a store,
   * for whose streams this one then subscribes.
   */
  constructor(store: RedisOptions | Session, prefix: string, callbacks: SessionCallbacks) {
    this.#prefix = prefix;
    this.#callbacks = callbacks;
    const self = new WeakRef(this);
    const onCompletions = () => take(self.deref());
    try {
      const onQuestion: OnQuestion = (number, ofSentinels, what, host, port) =>
        askFunctions(self.deref(), number, {
          ofSentinels,
          what,
          node: { host: host ?? "", port: port ?? 0 },
        });
      this.#native =
        store instanceof Session
          ? store.#native.forStreams(onCompletions, collect)
          : new RedisClient(store, onCompletions, collect, callbacks.askFunctions && onQuestion);
      this.#send = this.#native.sender();
    } catch (error) {
      throw decode(error);
    }
  }

  /** Connects, and connects again whenever the connection is lost. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#native.start();
  }

  /** Connects, and resolves once connected. It asks before it starts: otherwise a busy machine may end the first attempt in between, unheard. */
  connect(): Promise<unknown> {
    const connected = this.#ask((id) => this.#native.connect(id));
    this.start();
    return connected;
  }

  /** Resolves to the result of a command. Throws INVALID_ARGUMENT. */
  run(command: Command, args: readonly unknown[]): Promise<unknown> {
    const argv = isPlain(command, args) ? args : argvOf(command, args, this.#prefix);
    if (argv === undefined) return Promise.resolve(command.none?.());
    return new Promise((resolve, reject) => {
      this.#begin({ command, first: args[0], resolve, reject });
      const batch = this.#batch;
      if (argv.length <= MOST_VALUES) {
        batch.push(argv.length, indexOf(command));
        for (let i = 0; i < argv.length; i++) batch.push(argv[i]);
      } else {
        batch.push([indexOf(command), ...argv]);
      }
      this.#end(argv);
    });
  }

  /**
   * Runs commands as one. Resolves to `[replies]`, or to `[error, index]` if the server refused to queue a command, so that none was
   * run.
   */
  runAll(commands: readonly Ready[]): Promise<[replies: unknown[]] | [refusal: Error, index: number]> {
    return new Promise((resolve, reject) => {
      this.#begin({ command: undefined, resolve: resolve as WaitingRequest["resolve"], reject });
      this.#batch.push(commands.map(({ command, argv }) => [indexOf(command), ...argv]));
      this.#end(commands.flatMap(({ argv }) => argv));
    });
  }

  /** Runs a script whose keys are channels. Resolves to the number it returns. A failure is reported as one of `command`. */
  script(
    command: Command,
    script: string,
    channels: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    const argv = [script, channels.length, ...channels, ...args];
    return new Promise((resolve, reject) => {
      this.#begin({ command, first: args[0], resolve, reject });
      this.#batch.push(argv.length, KEYED_BY_CHANNELS - indexOf(EVAL), ...argv);
      this.#end(argv);
    });
  }

  /** Starts or stops the messages for the framework's callbacks on the channel of events. */
  hearStreams(hearing: boolean): void {
    this.#native.hearStreams(hearing);
  }

  /** The subscriptions and resources to read again after a gap. */
  streams(): { subscriptions: string[]; resources: string[] } {
    return this.#native.streams();
  }

  /** Resolves once the subscription is live. */
  subscribe(isPattern: boolean, name: string): Promise<unknown> {
    return this.#ask((id) => this.#native.subscribe(id, isPattern, name));
  }

  unsubscribe(isPattern: boolean, name: string): Promise<unknown> {
    return this.#ask((id) => this.#native.unsubscribe(id, isPattern, name));
  }

  /** Keeps the process alive while the store has subscriptions. */
  keepAlive(isSubscribed: boolean): void {
    this.#isSubscribed = isSubscribed;
    this.#native.keepAlive(isSubscribed);
    this.#hold();
  }

  /** Whether it is a cluster. Null of one server that has said nothing yet. */
  get isCluster(): boolean | null {
    return this.#native.isCluster();
  }

  /** The server, or null while there is no connection. */
  get server(): RedisServer | null {
    return this.#native.server();
  }

  health(): RedisHealth[] {
    return this.#native.health();
  }

  /** Asks a node of a cluster, over a connection of its own. `isTold` is an address that nodes tell, which may lead elsewhere. */
  async askNode(node: RedisNode, isTold: boolean, command: string[]): Promise<NodeAnswer> {
    const answer = await this.#ask((id) => this.#native.askNode(id, node, isTold, command));
    const [version, role, microseconds, reply] = answer as [string, string, string, unknown];
    return { version, role, latency: Number(microseconds) / 1_000, reply };
  }

  sentinels(): RedisSentinel[] {
    return this.#native.sentinels();
  }

  attachFanout(fanout: NativeFanoutThread): void {
    fanout.attach(this.#native);
  }

  /** Resolves once all requests are answered and the connections are closed. */
  async close(): Promise<void> {
    this.keepAlive(false);
    let closing: Promise<unknown> | undefined;
    const commands = this.#ask((first) => {
      closing = this.#ask((second) => this.#native.close(first, second));
    });
    // It is closed, whatever the server says to the last UNSUBSCRIBE.
    await Promise.allSettled([commands, closing]);
    this.#native.abandon();
  }

  async #askFunctions(number: number, question: Question): Promise<void> {
    this.#native.answer(number, (await this.#callbacks.askFunctions?.(question)) ?? {});
  }

  /** Makes a request that is not part of a batch. */
  #ask(question: (id: number) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      // Earlier commands leave first, and the ids of a batch stay consecutive.
      this.#flush();
      question(this.#wait({ command: undefined, resolve, reject }));
    });
  }

  /** Begins an entry of the batch. */
  #begin(waiting: WaitingRequest): void {
    const id = this.#wait(waiting);
    if (this.#batch.length > 0) return;
    this.#first = id;
    nextTick(flush, this);
  }

  /** Ends an entry. Sends a batch that has become too large. */
  #end(argv: readonly unknown[]): void {
    for (let i = 0; i < argv.length; i++) {
      const word = argv[i];
      if (typeof word === "string") this.#text += word.length;
    }
    if (this.#batch.length > MOST_VALUES || this.#text > MOST_TEXT) this.#flush();
  }

  #wait(waiting: WaitingRequest): number {
    this.#unanswered += 1;
    if (this.#unanswered === 1) this.#hold();
    return this.#waiting.add(waiting);
  }

  #hold(): void {
    if (this.#unanswered > 0 || this.#isSubscribed) awaited.add(this);
    else awaited.delete(this);
  }

  static {
    flush = (session) => session.#flush();
    take = (session) => {
      if (session !== undefined) runFairly(session.#take);
    };
    askFunctions = (session, number, question) => {
      if (session !== undefined) void session.#askFunctions(number, question);
    };
  }

  #flush(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#text = 0;
    try {
      this.#send(this.#first, ...batch);
    } catch (error) {
      // Nothing was sent: all Promises of the batch reject.
      for (let id = this.#first; ; id++) {
        const waiting = this.#waiting.take(id);
        if (waiting === undefined) break;
        this.#unanswered -= 1;
        this.#refuse(waiting, error);
      }
      this.#hold();
    }
  }

  /** Takes answers, messages and events. */
  readonly #take = (): boolean => {
    this.#answeredNow = 0;
    this.#answeringSince = 0;
    const left = this.#native.take(this.#answerAll, this.#batchSize.count);
    if (this.#answeringSince > 0) this.#batchSize.measure(this.#answeredNow, this.#answeringSince);
    if (this.#unanswered === 0) this.#hold();
    const isMore = left >= 2;
    if (left % 2 === 0) return isMore;
    let messages: Messages;
    do {
      messages = this.#native.messages(BATCH);
      this.#callbacks.heard(messages);
    } while (messages[0] === null && !isSliceOver());
    // The gap comes last: a state that is read after it includes all messages.
    for (const event of this.#native.events()) this.#callbacks.happened(event);
    return isMore || messages[0] === null;
  };

  /** `first` ≥ 0: replies to consecutive ids from `first` on. `first` < 0: pairs of id and reply. */
  readonly #answerAll = (first: number, ...replies: (Reply | Error)[]): void => {
    if (this.#answeringSince === 0 && replies.length >= BATCH) this.#answeringSince = monotonic();
    if (first >= 0) {
      this.#answeredNow += replies.length;
      for (let i = 0; i < replies.length; i++) this.#answerOne(first + i, replies[i] as Reply | Error);
    } else {
      this.#answeredNow += replies.length / 2;
      for (let i = 0; i < replies.length; i += 2) {
        this.#answerOne(replies[i] as number, replies[i + 1] as Reply | Error);
      }
    }
  };

  #answerOne(id: number, reply: Reply | Error): void {
    const waiting = this.#waiting.take(id);
    if (waiting === undefined) return;
    this.#unanswered -= 1;
    this.#answer(waiting, reply);
  }

  /**
   * Rejects with an error whose stack shows the async functions that await it. V8 finds them from the Promise whose handler runs: so the
   * error is made in a handler, two steps later, when the caller's Promise depends on it. A success has no such cost.
   */
  #refuse({ command, first, resolve }: WaitingRequest, reason: unknown): void {
    const fail = () => {
      const error = decode(reason, command?.name);
      if (error instanceof KVError) Error.captureStackTrace(error, fail);
      if (command !== undefined) this.#callbacks.failed(error, command, first);
      throw error;
    };
    resolve(soon.then(() => {}).then(fail));
  }

  #answer(waiting: WaitingRequest, reply: Reply | Error): void {
    if (isError(reply)) {
      this.#refuse(waiting, reply);
      return;
    }
    const { command, resolve, reject } = waiting;
    try {
      resolve(command === undefined ? reply : resultOf(command, reply, this.#prefix));
    } catch (error) {
      reject(error);
    }
  }
}
