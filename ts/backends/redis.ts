import type { KVStoreTransaction, MessageCallback } from "../adapter.js";
import { checkNoMore, reading, text } from "../arguments.js";
import { defineMethods } from "../commands.js";
import type { RedisConfig } from "../config.js";
import { isTraced, tellGap, tellReconnecting, traced } from "../diagnostics.js";
import { closed, decode, KVError, tagged } from "../errors.js";
import type { ConnectionHealth, ConnectionRole, Gap, KVStatus } from "../events.js";
import { isFrameworkChannel } from "../fanout/ear.js";
import type { NativeFanoutThread, RedisEvent, RedisOptions, RedisServer } from "../native.js";
import type { Kind } from "../pubsub.js";
import { redisForm } from "../redis-form.js";
import { misshapen } from "../shapes.js";
import { Store } from "../store.js";
import { setTimeout } from "../timers.js";
import { type RunAll, Transaction } from "../transaction.js";
import { isUnanswered, noteChannel, noteCommand, type Tell } from "../unawaited.js";
import { configOf, isClient, type RedisClientLike } from "./redis-client.js";
import { readConfig } from "./redis-config.js";
import type { AskCredentials } from "./redis-credentials.js";
import { Session } from "./redis-session.js";

export type { RedisClientLike } from "./redis-client.js";

/** How long until a channel of the framework is asked for again, in ms. */
const ASK_AGAIN_MS = 250;

/**
 * A store on a Redis server: one connection for commands, and a second one once something is subscribed. It
 * connects again whenever it loses the server, until `disconnect`.
 */
export class RedisKVStore extends Store {
  readonly #options: RedisOptions;
  readonly #askCredentials: AskCredentials | undefined;
  #status: KVStatus = "connecting";
  #session: Session | undefined;
  #closing: Promise<void> | undefined;
  /** The names that are subscribed, each with the attempt that is to subscribe it: an earlier one may yet fail. */
  readonly #names = new Map<string, object>();
  /** How often each of the framework's channels was left: what waits to be asked for again may have been left meanwhile. */
  readonly #leavings = new Map<string, number>();
  readonly #tell: Tell = (error) => this.emit("error", error);

  static {
    defineMethods(this.prototype, (command) => {
      return function (this: RedisKVStore, ...args: unknown[]) {
        try {
          if (!isTraced()) return this.#open().run(command, args);
          const message = { command: command.name, backend: "redis", prefix: this.prefix } as const;
          return traced(message, () => this.#open().run(command, args));
        } catch (error) {
          return Promise.reject(decode(error, command.name));
        }
      };
    });
  }

  /**
   * Takes a configuration, or a client of ioredis or node-redis, of which only the options are read. Throws
   * `INVALID_ARGUMENT` for a field of a wrong type; `CONFIG` for an address or a certificate that is wrong, and for an
   * option of a client that would have to be dropped and may change which server is meant or who is trusted. Opens
   * nothing yet.
   */
  constructor(client: RedisClientLike | RedisConfig, prefix = "") {
    const { options, askCredentials, fullPrefix } = reading("RedisKVStore", () => read(client, prefix));
    super(fullPrefix);
    if (fullPrefix !== "") options.prefix = fullPrefix;
    this.#options = options;
    this.#askCredentials = askCredentials;
    this.#session = this.#newSession();
  }

  /** @internal */
  get status(): KVStatus {
    return this.#status;
  }

  /** @internal */
  async connect(...more: never[]): Promise<void> {
    checkNoMore("connect", 0, more);
    // One life after the other: its end is told before the next one begins.
    if (this.#session === undefined) await this.#closing;
    if (this.#session === undefined) {
      this.#session = this.#newSession();
      this.#status = "connecting";
    }
    await this.#open().connect();
  }

  /** @internal */
  async disconnect(): Promise<void> {
    const session = this.#session;
    if (session !== undefined) {
      this.#session = undefined;
      this.#status = "closed";
      this.dropCallbacks();
      this.#names.clear();
      this.#closing = session.close().then(() => {
        this.emit("end");
      });
    }
    await this.#closing;
  }

  /**
   * @internal The framework's channels are asked for until they are live: it asks once for all its streams, and awaits nothing.
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
  override async unsubscribe(channel: string, ...more: never[]): Promise<void> {
    if (isFrameworkChannel(channel)) this.#leavings.set(channel, (this.#leavings.get(channel) ?? 0) + 1);
    await super.unsubscribe(channel, ...more);
  }

  /** @internal */
  multi(...more: never[]): KVStoreTransaction {
    checkNoMore("multi", 0, more);
    return new Transaction(this.prefix, (...given) => this.#runAll(...given), redisForm);
  }

  /** @internal */
  protected async register(kind: Kind, name: string): Promise<void> {
    const session = this.#open();
    const [key, attempt] = [keyOf(kind, name), {}];
    if (this.#names.size === 0) this.takenAt = Date.now();
    this.#names.set(key, attempt);
    session.listen(true);
    try {
      await session.subscribe(kind === "pattern", name);
    } catch (error) {
      if (this.#names.get(key) === attempt) this.#leave(kind, name);
      throw error;
    }
  }

  /** @internal */
  protected async unregister(kind: Kind, name: string): Promise<void> {
    const session = this.#open();
    this.#leave(kind, name);
    try {
      await session.unsubscribe(kind === "pattern", name);
    } catch (error) {
      if (kind === "channel") noteChannel(error, name, this.#tell);
      throw error;
    }
  }

  /** @internal */
  protected override connections(): ConnectionHealth[] {
    const health = this.#session?.health() ?? [];
    return health.map(({ isReady, code, message = "", ...rest }, index) => ({
      connection: index === 0 ? "commands" : "subscriptions",
      state: isReady ? "ready" : rest.lastHeard === undefined ? "connecting" : "reconnecting",
      ...rest,
      ...(code !== undefined && { cause: tagged(code, message) }),
    }));
  }

  /** @internal What the server has said of itself; nothing while there is no connection. */
  get server(): RedisServer | null {
    return this.#session?.server ?? null;
  }

  /** @internal Has the fan-out hear by way of this server, until `end`. */
  attachFanout(fanout: NativeFanoutThread): void {
    this.#open().attachFanout(fanout);
  }

  /** @internal */
  protected override missed(gap: Gap): void {
    tellGap("redis", gap);
    super.missed(gap);
  }

  #leave(kind: Kind, name: string): void {
    this.#names.delete(keyOf(kind, name));
    this.#session?.listen(this.#names.size > 0);
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
      askCredentials: this.#askCredentials,
    });
    return session;
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
        this.emit("ready", { connection: roleOf(event) });
        break;
      case "reconnecting": {
        if (this.#status === "ready" && !event.subscribes) this.#status = "reconnecting";
        const { attempt, delay, code, message } = event;
        const told = { connection: roleOf(event), attempt, delay, cause: tagged(code, message) };
        tellReconnecting({ backend: "redis", ...told });
        this.emit("reconnecting", told);
        break;
      }
      case "unsubscribed": {
        const kind = event.isPattern ? "pattern" : "channel";
        if (this.dropTopic(kind, event.topic)) this.#leave(kind, event.topic);
        this.emit("error", tagged(event.code, event.message));
        break;
      }
      case "gap":
        this.missed({ from: event.from, to: event.to, reason: "connection" });
    }
  }
}

const roleOf = ({ subscribes }: { subscribes: boolean }): ConnectionRole =>
  subscribes ? "subscriptions" : "commands";

const keyOf = (kind: Kind, name: string) => `${kind} ${name}`;

function read(client: RedisClientLike | RedisConfig, prefix: string) {
  const given = text("prefix").check(prefix, "RedisKVStore");
  if (!isClient(client)) return { ...readConfig(client), fullPrefix: given };
  const { config, keyPrefix } = configOf(client);
  return {
    ...readConfig(config),
    fullPrefix: [keyPrefix, given].filter((part) => part !== "").join(":"),
  };
}

/** A {@link RedisKVStore}. Throws what its constructor throws. */
export function createRedisKV(client: RedisClientLike | RedisConfig, prefix?: string): RedisKVStore {
  return new RedisKVStore(client, prefix);
}

/** A {@link RedisKVStore} from a configuration. Throws what its constructor throws. */
export function createRedisKVFromConfig(config: RedisConfig, prefix?: string): RedisKVStore {
  return new RedisKVStore(config, prefix);
}
