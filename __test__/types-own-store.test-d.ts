// An application's own class with only the required methods must fit the interfaces. Checked by tsc, never run.
import {
  type KVAdapter,
  type KVTransaction,
  type ScanOptions,
  type ScanResult,
  type SetOptions,
  setGlobalKV,
  type ZRangeOptions,
} from "covara-kv";

type Callbacks = Map<string, (message: string, channel: string) => void>;

/** An application's own class with the required methods alone. */
export class OwnTransaction implements KVTransaction {
  get(_key: string): KVTransaction {
    return this;
  }
  set(_key: string, _value: string, _options?: SetOptions): KVTransaction {
    return this;
  }
  del(..._keys: string[]): KVTransaction {
    return this;
  }
  incr(_key: string): this {
    return this;
  }
  hset(_key: string, _field: string, _value: string): this {
    return this;
  }
  hdel(_key: string, ..._fields: string[]): this {
    return this;
  }
  sadd(_key: string, ..._members: string[]): this {
    return this;
  }
  srem(_key: string, ..._members: string[]): this {
    return this;
  }
  lpush(_key: string, ..._values: string[]): this {
    return this;
  }
  rpush(_key: string, ..._values: string[]): this {
    return this;
  }
  zadd(_key: string, _score: number, _member: string): this {
    return this;
  }
  zrem(_key: string, ..._members: string[]): this {
    return this;
  }
  expire(_key: string, _seconds: number): this {
    return this;
  }
  async exec(): Promise<unknown[]> {
    return [];
  }
  discard(): void {}
}

/** The same for a store. */
export class Own implements KVAdapter {
  readonly #strings = new Map<string, string>();
  readonly #callbacks: Callbacks = new Map();
  async connect(): Promise<void> {}
  async disconnect(): Promise<void> {}
  isConnected(): boolean {
    return true;
  }
  async get(key: string): Promise<string | null> {
    return this.#strings.get(key) ?? null;
  }
  async set(key: string, value: string, _options?: SetOptions): Promise<void> {
    this.#strings.set(key, value);
  }
  async del(...keys: string[]): Promise<number> {
    return keys.filter((key) => this.#strings.delete(key)).length;
  }
  async exists(..._keys: string[]): Promise<number> {
    return 0;
  }
  async incr(_key: string): Promise<number> {
    return 1;
  }
  async incrBy(_key: string, n: number): Promise<number> {
    return n;
  }
  async decr(_key: string): Promise<number> {
    return -1;
  }
  async expire(_key: string, _seconds: number): Promise<boolean> {
    return false;
  }
  async ttl(_key: string): Promise<number> {
    return -2;
  }
  async hget(_key: string, _field: string): Promise<string | null> {
    return null;
  }
  async hset(_key: string, _field: string, _value: string): Promise<number> {
    return 1;
  }
  async hmset(_key: string, _data: Record<string, string>): Promise<void> {}
  async hgetall(_key: string): Promise<Record<string, string>> {
    return {};
  }
  async hdel(_key: string, ..._fields: string[]): Promise<number> {
    return 0;
  }
  async hexists(_key: string, _field: string): Promise<boolean> {
    return false;
  }
  async hkeys(_key: string): Promise<string[]> {
    return [];
  }
  async hlen(_key: string): Promise<number> {
    return 0;
  }
  async sadd(_key: string, ..._members: string[]): Promise<number> {
    return 0;
  }
  async srem(_key: string, ..._members: string[]): Promise<number> {
    return 0;
  }
  async smembers(_key: string): Promise<string[]> {
    return [];
  }
  async sismember(_key: string, _member: string): Promise<boolean> {
    return false;
  }
  async scard(_key: string): Promise<number> {
    return 0;
  }
  async lpush(_key: string, ..._values: string[]): Promise<number> {
    return 0;
  }
  async rpush(_key: string, ..._values: string[]): Promise<number> {
    return 0;
  }
  async lpop(_key: string): Promise<string | null> {
    return null;
  }
  async rpop(_key: string): Promise<string | null> {
    return null;
  }
  async lrange(_key: string, _start: number, _stop: number): Promise<string[]> {
    return [];
  }
  async llen(_key: string): Promise<number> {
    return 0;
  }
  async ltrim(_key: string, _start: number, _stop: number): Promise<void> {}
  async zadd(_key: string, _score: number, _member: string): Promise<number> {
    return 1;
  }
  async zrem(_key: string, ..._members: string[]): Promise<number> {
    return 0;
  }
  async zscore(_key: string, _member: string): Promise<number | null> {
    return null;
  }
  async zrange(_key: string, _start: number, _stop: number): Promise<string[]> {
    return [];
  }
  async zrangebyscore(
    _key: string,
    _min: number | string,
    _max: number | string,
    _options?: ZRangeOptions,
  ): Promise<string[]> {
    return [];
  }
  async zcard(_key: string): Promise<number> {
    return 0;
  }
  async zincrby(_key: string, n: number, _member: string): Promise<number> {
    return n;
  }
  async keys(_pattern: string): Promise<string[]> {
    return [];
  }
  async scan(_cursor: string, _options?: ScanOptions): Promise<ScanResult> {
    return { cursor: "0", keys: [] };
  }
  async publish(channel: string, message: string): Promise<number> {
    this.#callbacks.get(channel)?.(message, channel);
    return 1;
  }
  async subscribe(channel: string, callback: (message: string, channel: string) => void): Promise<void> {
    this.#callbacks.set(channel, callback);
  }
  async psubscribe(_pattern: string, _callback: (message: string, channel: string) => void): Promise<void> {}
  async unsubscribe(channel: string): Promise<void> {
    this.#callbacks.delete(channel);
  }
  async punsubscribe(_pattern: string): Promise<void> {}
  multi(): KVTransaction {
    return new OwnTransaction();
  }
  async eval(_script: string, _keys: string[], _args: string[]): Promise<unknown> {
    return null;
  }
}
setGlobalKV(new Own());
