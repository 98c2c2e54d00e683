import type { KVAdapter } from "../adapter.js";
import type { RedisConfig } from "../config.js";
import { unsupported } from "../errors.js";

/**
 * An ioredis client, or what looks like one: its options are read, and a connection with the same is opened.
 */
export interface RedisClientLike {
  /** Where it connects to. */
  readonly options: {
    host?: string | undefined;
    port?: number | undefined;
    username?: string | null | undefined;
    password?: string | null | undefined;
    db?: number | undefined;
    tls?: object | undefined;
    path?: string | undefined;
  };
}

const redis = unsupported("The Redis backend");

/** A store on a Redis server. */
export type RedisKVStore = KVAdapter;
/** Not built yet: throws `UNSUPPORTED`. */
export const RedisKVStore: new (client: RedisClientLike | RedisConfig, prefix?: string) => RedisKVStore =
  redis;

/** A {@link RedisKVStore}. Not built yet: throws `UNSUPPORTED`. */
export const createRedisKV: (client: RedisClientLike | RedisConfig, prefix?: string) => RedisKVStore = redis;

/** A {@link RedisKVStore} from a configuration. Not built yet: throws `UNSUPPORTED`. */
export const createRedisKVFromConfig: (config: RedisConfig, prefix?: string) => RedisKVStore = redis;
