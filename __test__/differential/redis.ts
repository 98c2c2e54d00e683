// The Redis of a test file, and the independent client that asks it.
import { after, before } from "node:test";
import { Redis, type RedisOptions } from "ioredis";
import { type RedisServer, startRedis } from "../redis-server.js";
import type { Reply } from "./replies.js";

/**
 * How many fields a hash has before Redis stops keeping the order of insertion; the memory store promises the order up to here, and Redis's
 * default is 512. Every server knows the setting as `hash-max-ziplist-entries`; since 7.0 that is an alias.
 */
const ORDERED = 128;

/** A server that runs as long as the tests of a file. */
export interface TestRedis {
  /** A client for calls that need no connection of their own. It exists once the tests run. */
  readonly client: Redis;
  /** Another client. */
  connect(): Redis;
  readonly host: string;
  readonly port: number;
}

export function useRedis(options: RedisOptions = {}, config: Record<string, string> = {}): TestRedis {
  let server: RedisServer | undefined;
  let client: Redis | undefined;
  const clients: Redis[] = [];
  const running = () => {
    if (server === undefined) throw new Error("there is no server before the tests");
    return server;
  };
  const connect = () => {
    const { host, port } = running();
    const client = new Redis({ ...options, host, port, retryStrategy: () => null });
    clients.push(client);
    return client;
  };
  before(async () => {
    server = await startRedis(config);
    await connect().config("SET", "hash-max-ziplist-entries", ORDERED);
  });
  after(async () => {
    for (const client of clients) client.disconnect();
    await server?.stop();
  });
  return {
    connect,
    get host() {
      return running().host;
    },
    get port() {
      return running().port;
    },
    get client() {
      client ??= connect();
      return client;
    },
  };
}

/** Integers as text: JavaScript's numbers cannot hold all integers of 64 bits. */
export const EXACT: RedisOptions = { stringNumbers: true };

/** Sends commands in one round trip. A command that fails has its error as the reply. */
export async function pipeline(redis: Redis, commands: readonly string[][]): Promise<Reply[]> {
  const batch = redis.pipeline();
  for (const [name, ...args] of commands) batch.call(name as string, ...args);
  const answers = (await batch.exec()) ?? [];
  return answers.map(([error, reply]) => error ?? (reply as Reply));
}
