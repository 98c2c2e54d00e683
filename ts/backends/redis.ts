import type {
  FanoutThread as NativeFanoutThread,
  RedisEvent,
  RedisOptions,
  RedisSentinel,
  RedisServer,
} from "../../native.js";
import type { KVStoreTransaction, MessageCallback } from "../adapter.js";
import { checkNoMore, isText, reading } from "../arguments.js";
import { type Command, commandOf, defineMethods } from "../commands.js";
import type { FanoutMode, RedisConfig } from "../config.js";
import { isTraced, tellGap, tellReconnecting, traced } from "../diagnostics.js";
import { closed, decode, KVError, tagged } from "../errors.js";
import type { ConnectionHealth, ConnectionRole, Gap, KVStatus } from "../events.js";
import { CHANNEL_OF, isFrameworkChannel } from "../fanout/channels.js";
import type { Kind } from "../pubsub.js";
import { redisCodec } from "../redis-codec.js";
import { misshapen } from "../results.js";
import { Store } from "../store.js";
import { setTimeout } from "../timers.js";
import { type RunAll, Transaction } from "../transaction.js";
import { isUnanswered, noteChannel, noteCommand, type Tell } from "../unawaited.js";
import { type RedisClientLike, read } from "./redis-client.js";
import type { AskFunctions } from "./redis-functions.js";
import { type Published, Publisher, subscriptionOf, type Way } from "./redis-publisher.js";
import { Session } from "./redis-session.js";
import { Streams } from "./redis-streams.js";

export type { RedisClientLike } from "./redis-client.js";

const PUBLISH = commandOf("publish");

/** The delay before a channel of the framework is requested again, in ms. */
const ASK_AGAIN_MS = 250;

/**
 * A store on a Redis server: one connection for commands, and a second one for subscriptions. It connects again whenever it loses the
 * server, until `disconnect`.
 */
export class RedisKVStore extends Store {
  readonly #options: RedisOptions;
  readonly #askFunctions: AskFunctions | undefined;
  #status: KVStatus = "connecting";
  #session: Session | undefined;
  /** Set once `subscribe` was called for a channel of the framework. */
  #streams: Streams | undefined;
  /** Whether another name is or was subscribed: then the session reports events of the subscribing connection. */
  #subscribes = false;
  /** The last reported gap: both the session and the streams may report it. */
  #gap: { from: number; to: number } | undefined;
  readonly #publisher: Publisher;
  #closing: Promise<void> | undefined;
  #disconnects = 0;
  /** How often each of the framework's channels was left: what waits to be asked for again may have been left meanwhile. */
  readonly #leavings = new Map<string, number>();
  readonly #tell: Tell = (error) => this.emit("error", error);

  static {
    defineMethods(this.prototype, (command) => {
      return function (this: RedisKVStore, ...args: unknown[]) {
        try {
          if (!isTraced()) return this.#run(command, args);
          const message = { command: command.name, backend: "redis", prefix: this.prefix } as const;
          return traced(message, () => this.#run(command, args));
        } catch (error) {
          return Promise.reject(decode(error, command.name));
        }
      };
    });
  }

  /**
   * Takes a configuration, or a client of ioredis or node-redis, whose options are read. Throws `INVALID_ARGUMENT` for a field of a wrong
   * type, and `CONFIG` for a wrong address or certificate. An option of a client that cannot be taken over is `CONFIG` too, if it may
   * change the server or the trust in it. Opens no connection.
   */
  constructor(client: RedisClientLike | RedisConfig, prefix = "") {
    const { options, askFunctions, fullPrefix } = reading("RedisKVStore", () => read(client, prefix));
    super(fullPrefix);
    if (fullPrefix !== "") options.prefix = fullPrefix;
    [this.#options, this.#askFunctions] = [options, askFunctions];
    this.#session = this.#newSession();
    this.#publisher = new Publisher(options.queueTimeout, {
      publish: (channel, message) => this.#open().run(PUBLISH, [channel, message]) as Promise<number>,
      script: (...given) => this.#open().script(PUBLISH, ...given) as Promise<number>,
      isCluster: () => this.#session?.isCluster ?? null,
    });
  }

  /** @internal */
  get status(): KVStatus {
    return this.#status;
  }

  /** @internal */
  async connect(...more: never[]): Promise<void> {
    checkNoMore("connect", 0, more);
    const disconnects = this.#disconnects;
    // The `end` of the closed session comes before the next session begins.
    if (this.#session === undefined) await this.#closing;
    // The last call counts.
    if (this.#disconnects !== disconnects) throw closed();
    if (this.#session === undefined) {
      this.#session = this.#newSession();
      this.#status = "connecting";
    }
    await this.#session.connect();
  }

  /** @internal */
  async disconnect(): Promise<void> {
    this.#disconnects += 1;
    const session = this.#session;
    if (session !== undefined) {
      const streams = this.#streams;
      this.#session = this.#streams = undefined;
      this.#subscribes = false;
      this.#status = "closed";
      this.dropCallbacks();
      this.#closing = Promise.all([session.close(), streams?.close()]).then(() => {
        this.emit("end");
      });
    }
    await this.#closing;
  }

  /**
   * @internal Requests a channel of the framework until it is live: the framework subscribes once for all its streams, without awaiting.
   */
  override async subscribe(channel: string, callback: MessageCallback, ...more: never[]): Promise<void> {
    const [session, leavings] = [this.#session, this.#leavings.get(channel)];
    for (;;) {
      try {
        return await super.subscribe(channel, callback, ...more);
      } catch (error) {
        if (!isFrameworkChannel(channel) || !isUnanswered(error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      if (this.#session !== session) throw closed();
      if (this.#leavings.get(channel) !== leavings) return;
    }
  }

  /** @internal */
  protected override kindOf(channel: string): Kind {
    return isFrameworkChannel(channel) ? "streams" : "channel";
  }

  /** @internal */
  override async unsubscribe(channel: string, ...more: never[]): Promise<void> {
    if (isFrameworkChannel(channel)) this.#leavings.set(channel, (this.#leavings.get(channel) ?? 0) + 1);
    await super.unsubscribe(channel, ...more);
  }

  /** @internal */
  multi(...more: never[]): KVStoreTransaction {
    checkNoMore("multi", 0, more);
    return new Transaction(this.prefix, (...given) => this.#runAll(...given), redisCodec);
  }

  /** @internal */
  protected async register(kind: Kind, name: string, isWanted: () => boolean): Promise<void> {
    const session = this.#open();
    session.keepAlive(true);
    if (kind === "streams") {
      this.#streams ??= this.#newStreams(session);
      await this.#streams.subscribe(name, isWanted);
    } else {
      this.#subscribes = true;
      await session.subscribe(kind === "pattern", name);
    }
  }

  /** @internal */
  protected async unregister(kind: Kind, name: string): Promise<void> {
    const session = this.#open();
    this.topicLeft();
    try {
      if (kind === "streams") await this.#streams?.unsubscribe(name);
      else await session.unsubscribe(kind === "pattern", name);
    } catch (error) {
      if (kind !== "pattern") noteChannel(error, name, this.#tell);
      throw error;
    }
  }

  /** @internal */
  protected override topicLeft(): void {
    this.#session?.keepAlive(this.hasTopics);
  }

  /** @internal */
  protected override connections(): ConnectionHealth[] {
    const health = this.#session?.health() ?? [];
    const ofStreams = this.#subscribes ? undefined : this.#streams?.session.health();
    health.push(...(ofStreams ?? []).filter(({ subscribes }) => subscribes));
    return health.map(({ subscribes, isReady, code, message = "", ...rest }) => ({
      connection: roleOf({ subscribes }),
      state: isReady ? "ready" : rest.lastHeard === undefined ? "connecting" : "reconnecting",
      ...rest,
      ...(code !== undefined && { cause: tagged(code, message) }),
    }));
  }

  /** @internal Null while there is no connection. */
  get server(): RedisServer | null {
    return this.#session?.server ?? null;
  }

  /** @internal What the Sentinels say that are asked for the master; none for a fixed address. */
  get sentinels(): RedisSentinel[] {
    return this.#session?.sentinels() ?? [];
  }

  /** @internal See {@link Session.askNode}. */
  askNode(...question: Parameters<Session["askNode"]>): ReturnType<Session["askNode"]> {
    return this.#session?.askNode(...question) ?? Promise.reject(closed());
  }

  /** @internal Has the fan-out hear by way of this server, until `end`. */
  attachFanout(fanout: NativeFanoutThread): void {
    this.#open().attachFanout(fanout);
  }

  /** @internal Publishes an event. Resolves to the number of its receivers, and to the kind of channel. */
  async publishEvent(message: string): Promise<Published> {
    const publish = () => this.#target(message) ?? this.#toFleet(message);
    const told = { command: PUBLISH.name, backend: "redis", prefix: this.prefix } as const;
    return isTraced() ? traced(told, publish) : publish();
  }

  /** @internal Which events are received, and how events are published. */
  get fanout(): { mode: FanoutMode; publishes: Way } {
    const mode = this.#options.fanout;
    return { mode, publishes: mode === "targeted" ? this.#publisher.way : "fleet" };
  }

  /** @internal */
  protected override missed(gap: Gap, kind?: "streams"): void {
    tellGap("redis", gap);
    super.missed(gap, kind);
  }

  #run(command: Command, args: readonly unknown[]): Promise<unknown> {
    if (command.publishes === "message" && args[0] === CHANNEL_OF.events && args.length === 2) {
      const published = this.#target(args[1]);
      if (published !== undefined) return published.then(({ receivers }) => receivers);
    }
    return this.#open().run(command, args);
  }

  /** Publishes an event on the channel of its subscription first. Undefined if the message is no such event. */
  #target(message: unknown): Promise<Published> | undefined {
    if (this.#options.fanout !== "targeted") return undefined;
    // Another is refused on its way to the channel of the fleet.
    if (!isText(message)) return undefined;
    const subscription = subscriptionOf(message);
    return subscription === undefined ? undefined : this.#publisher.publish(subscription, message);
  }

  async #toFleet(message: string): Promise<Published> {
    const receivers = await this.#open().run(PUBLISH, [CHANNEL_OF.events, message]);
    return { receivers: receivers as number, isTargeted: false };
  }

  #newSession(): Session {
    const session: Session = new Session(this.#options, this.prefix, {
      happened: (event) => {
        if (session === this.#session) this.#happened(event);
      },
      heard: (messages) => {
        if (session === this.#session) this.deliverTaken(messages);
      },
      failed: (error, command, first) => noteCommand(error, command, first, this.#tell),
      askFunctions: this.#askFunctions,
    });
    return session;
  }

  #newStreams(session: Session): Streams {
    const streams: Streams = new Streams(session, {
      happened: (event) => {
        if (streams === this.#streams) this.#happenedToStreams(streams, event);
      },
      heard: (messages) => {
        if (streams !== this.#streams) return;
        this.deliverTaken(messages, "streams");
        // A callback may have disconnected the store.
        if (streams === this.#streams && messages[0] !== null && messages[0] > 0) streams.missed();
      },
      deliver: (channel, message) => this.deliverToStreams(channel, message),
    });
    return streams;
  }

  #open(): Session {
    if (this.#session === undefined) throw closed();
    this.#session.start();
    return this.#session;
  }

  async #runAll(...[commands, positionOf]: Parameters<RunAll>): Promise<unknown[]> {
    const run = () => this.#open().runAll(commands);
    const message = { command: "EXEC", backend: "redis", prefix: this.prefix } as const;
    const [replies, refused] = await (isTraced() ? traced(message, run) : run());
    if (refused === undefined) {
      if ((replies as unknown[]).length !== commands.length) throw misshapen("EXEC", replies);
      return replies as unknown[];
    }
    const { code, reason, message: text } = decode(replies) as KVError;
    const command = commands[refused]?.command.name;
    throw new KVError(code, text, { reason, command, index: positionOf(refused) });
  }

  #happened(event: RedisEvent): void {
    switch (event.name) {
      case "ready":
        if (!event.subscribes) this.#status = "ready";
        this.emit("ready", { connection: roleOf(event), node: event.node });
        break;
      case "reconnecting": {
        if (this.#status === "ready" && !event.subscribes) this.#status = "reconnecting";
        const { attempt, delay, code, message, node } = event;
        const cause = tagged(code, message);
        const told = {
          connection: roleOf(event),
          attempt,
          delay,
          cause,
          ...(node !== undefined && { node }),
        };
        tellReconnecting({ backend: "redis", ...told });
        this.emit("reconnecting", told);
        break;
      }
      case "unsubscribed":
        this.#unsubscribed(event.isPattern ? "pattern" : "channel", event);
        break;
      case "gap":
        this.#missed(event);
    }
  }

  #happenedToStreams(streams: Streams, event: RedisEvent): void {
    switch (event.name) {
      case "unsubscribed":
        if (this.#unsubscribed("streams", event)) streams.left(event.topic);
        break;
      case "gap":
        this.#missed(event, "streams");
        if (streams === this.#streams) streams.missed();
        break;
      default:
        if (!this.#subscribes) this.#happened(event);
    }
  }

  /** The server refused to restore a subscription. False if it was requested again meanwhile. */
  #unsubscribed(kind: Kind, { topic, code, message }: RedisEvent & { name: "unsubscribed" }): boolean {
    const isGone = this.dropTopic(kind, topic);
    if (isGone) this.topicLeft();
    this.emit("error", tagged(code, message));
    return isGone;
  }

  #missed({ from, to, node }: RedisEvent & { name: "gap" }, kind?: "streams"): void {
    const gap: Gap = { from, to, reason: "connection", ...(node !== undefined && { node }) };
    const isTold = this.#gap?.from === from && this.#gap.to === to;
    this.#gap = { from, to };
    if (!isTold) this.missed(gap, kind);
    else if (kind === undefined) this.callOnGap(gap);
  }
}

const roleOf = ({ subscribes }: { subscribes: boolean }): ConnectionRole =>
  subscribes ? "subscriptions" : "commands";

/**
 * A {@link RedisKVStore}. Throws what its constructor throws.
 *
 * @example
 * // A client of ioredis gives its options.
 * const client = new Redis(url, { lazyConnect: true });
 * const kv = createRedisKV(client, "app");
 * await kv.ping(); // "PONG"
 */
export function createRedisKV(client: RedisClientLike | RedisConfig, prefix?: string): RedisKVStore {
  return new RedisKVStore(client, prefix);
}

/**
 * A {@link RedisKVStore} from a configuration. Throws what its constructor throws.
 *
 * @example
 * const kv = createRedisKVFromConfig({ url, commandTimeout: 2_000 }, "app");
 * await kv.ping(); // "PONG"
 */
export function createRedisKVFromConfig(config: RedisConfig, prefix?: string): RedisKVStore {
  return new RedisKVStore(config, prefix);
}
