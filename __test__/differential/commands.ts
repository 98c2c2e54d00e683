// The methods that are one Redis command, as data: random arguments, the same call in Redis's words, and the result.
import type { ExpiryOptions, KVStore, SetOptions, ZRangeOptions } from "covara-kv";
import fc from "fast-check";
import { differsIn } from "../servers.js";
import * as pool from "./pools.js";
import * as to from "./replies.js";

interface Row<A extends unknown[]> {
  readonly args: fc.Arbitrary<A>;
  /** The call as Redis's words; undefined where the method answers without a command. */
  argv(...args: A): string[] | undefined;
  /** The result that docs/surface.md gives for this reply. */
  result(reply: to.Reply, ...args: A): unknown;
  /** The result of a call for which `argv` is undefined. */
  readonly none?: unknown;
  /** The result in a transaction, where it differs. */
  readonly queued?: (reply: to.Reply) => unknown;
  /** Sorts a result whose order Redis leaves open. */
  readonly inOrder?: (result: unknown) => unknown;
  /** The result may differ by one, as a second may pass between the two answers. */
  readonly elapses?: true;
}

export type Command = Row<unknown[]>;

/** Checks the types of a row, then drops the type of its arguments. */
const row = <A extends unknown[]>(row: Row<A>) => row as unknown as Command;

/** A command whose words are the arguments, unchanged. */
function plain<A extends string[]>(
  name: string,
  args: fc.Arbitrary<A>,
  result: (reply: to.Reply) => unknown,
  more: Partial<Command> = {},
): Command {
  return { args, argv: (...words) => [name, ...(words as string[])], result, ...more };
}

/** A command of a list of words, after a key if it has one. Where Redis refuses an empty list, the method does nothing. */
function ofMany(
  name: string,
  args: fc.Arbitrary<string[]>,
  result: (reply: to.Reply) => unknown,
  { least, none }: { least: number; none: unknown },
): Command {
  const argv = (...words: unknown[]) => (words.length < least ? undefined : [name, ...(words as string[])]);
  return { args, argv, result, none };
}

const keys = pool.several(pool.anyKey);
const keyAnd = (key: fc.Arbitrary<string>, word: fc.Arbitrary<string>) =>
  fc.tuple(key, pool.several(word)).map(([key, words]) => [key, ...words]);

const expiryOptions: fc.Arbitrary<ExpiryOptions> = fc.oneof(
  fc.constant({}),
  pool.seconds.map((ex) => ({ ex })),
  pool.milliseconds.map((px) => ({ px })),
);

const setOptions: fc.Arbitrary<SetOptions> = fc
  .tuple(
    expiryOptions,
    fc.constantFrom<SetOptions>({}, {}, { nx: true }, { xx: true }, { nx: false, xx: true }),
  )
  .map(([expiry, condition]) => ({ ...expiry, ...condition }));

/** The offset of LIMIT, without those on which servers differ. */
const offset = differsIn("A negative offset of LIMIT") ? pool.index.map(Math.abs) : pool.index;

const rangeOptions: fc.Arbitrary<ZRangeOptions> = fc.record(
  { withScores: fc.boolean(), limit: fc.record({ offset, count: pool.index }) },
  { requiredKeys: [] },
);

function setWords({ ex, px, nx = false, xx = false }: SetOptions): string[] {
  const words = [];
  if (ex !== undefined) words.push("EX", String(ex));
  if (px !== undefined) words.push("PX", String(px));
  if (nx) words.push("NX");
  if (xx) words.push("XX");
  return words;
}

function rangeWords({ withScores = false, limit }: ZRangeOptions): string[] {
  const words = withScores ? ["WITHSCORES"] : [];
  return limit === undefined ? words : [...words, "LIMIT", String(limit.offset), String(limit.count)];
}

/** A score or a bound as Redis reads it. */
function scoreWord(score: number | string): string {
  if (score === Infinity) return "+inf";
  if (score === -Infinity) return "-inf";
  return Object.is(score, -0) ? "-0" : String(score);
}

/** Arguments, with or without options at the end. */
const optional = <A extends unknown[], O>(args: fc.Arbitrary<A>, options: fc.Arbitrary<O>) =>
  fc.oneof(
    args,
    fc.tuple(args, options).map(([args, options]) => [...args, options]),
  ) as fc.Arbitrary<[...A, O?]>;

const string = pool.keyOf("string");
const anyOrString = fc.oneof({ weight: 3, arbitrary: string }, { weight: 1, arbitrary: pool.anyKey });

export const strings = {
  get: plain("GET", fc.tuple(string), to.same),
  mget: ofMany("MGET", keys, to.same, { least: 1, none: [] }),
  set: row({
    args: optional(fc.tuple(anyOrString, pool.value), setOptions),
    argv: (key, value, options = {}) => ["SET", key, value, ...setWords(options)],
    result: to.nothing,
    queued: to.same,
  }),
  setnx: row({
    args: optional(fc.tuple(anyOrString, pool.value), expiryOptions),
    argv: (key, value, options = {}) => ["SET", key, value, ...setWords({ ...options, nx: true })],
    result: to.isOk,
  }),
  getdel: plain("GETDEL", fc.tuple(string), to.same),
  incr: plain("INCR", fc.tuple(string), to.integer),
  incrBy: row({
    args: fc.tuple(string, pool.increment),
    argv: (key, n) => ["INCRBY", key, String(n)],
    result: to.integer,
  }),
  decr: plain("DECR", fc.tuple(string), to.integer),
};

export const keyspace = {
  ping: plain("PING", fc.constant([]), to.same),
  del: ofMany("DEL", keys, to.integer, { least: 1, none: 0 }),
  exists: ofMany("EXISTS", keys, to.integer, { least: 1, none: 0 }),
  expire: row({
    args: fc.tuple(pool.anyKey, pool.seconds),
    argv: (key, seconds) => ["EXPIRE", key, String(seconds)],
    result: to.isOne,
  }),
  ttl: plain("TTL", fc.tuple(pool.anyKey), to.integer, { elapses: true }),
  type: plain("TYPE", fc.tuple(pool.anyKey), to.same),
  keys: plain("KEYS", fc.tuple(pool.pattern), to.same, { inOrder: to.sorted }),
  publish: plain("PUBLISH", fc.tuple(pool.value, pool.value), to.integer),
};

const hash = pool.keyOf("hash");

export const hashes = {
  hget: plain("HGET", fc.tuple(hash, pool.member), to.same),
  hset: plain("HSET", fc.tuple(hash, pool.member, pool.value), to.integer),
  hmset: row({
    args: fc.tuple(hash, pool.several(fc.tuple(pool.member, pool.value)).map(Object.fromEntries<string>)),
    argv: (key, data) => ["HSET", key, ...Object.entries(data).flat()],
    result: to.nothing,
  }),
  hgetall: plain("HGETALL", fc.tuple(hash), to.hash),
  hdel: ofMany("HDEL", keyAnd(hash, pool.member), to.integer, { least: 2, none: 0 }),
  hexists: plain("HEXISTS", fc.tuple(hash, pool.member), to.isOne),
  hkeys: plain("HKEYS", fc.tuple(hash), to.same, { inOrder: to.sorted }),
  hlen: plain("HLEN", fc.tuple(hash), to.integer),
};

const set = pool.keyOf("set");

export const sets = {
  sadd: ofMany("SADD", keyAnd(set, pool.member), to.integer, { least: 2, none: 0 }),
  srem: ofMany("SREM", keyAnd(set, pool.member), to.integer, { least: 2, none: 0 }),
  smembers: plain("SMEMBERS", fc.tuple(set), to.same, { inOrder: to.sorted }),
  sismember: plain("SISMEMBER", fc.tuple(set, pool.member), to.isOne),
  scard: plain("SCARD", fc.tuple(set), to.integer),
};

const list = pool.keyOf("list");
const listAndRange = fc.tuple(list, pool.index, pool.index);

export const lists = {
  lpush: plain("LPUSH", keyAnd(list, pool.value), to.integer),
  rpush: plain("RPUSH", keyAnd(list, pool.value), to.integer),
  lpop: plain("LPOP", fc.tuple(list), to.same),
  rpop: plain("RPOP", fc.tuple(list), to.same),
  lrange: row({
    args: listAndRange,
    argv: (key, start, stop) => ["LRANGE", key, String(start), String(stop)],
    result: to.same,
  }),
  llen: plain("LLEN", fc.tuple(list), to.integer),
  ltrim: row({
    args: listAndRange,
    argv: (key, start, stop) => ["LTRIM", key, String(start), String(stop)],
    result: to.nothing,
  }),
};

const zset = pool.keyOf("zset");

export const sortedSets = {
  zadd: row({
    args: fc.tuple(zset, pool.score, pool.member),
    argv: (key, score, member) => ["ZADD", key, scoreWord(score), member],
    result: to.integer,
  }),
  zrem: ofMany("ZREM", keyAnd(zset, pool.member), to.integer, { least: 2, none: 0 }),
  zscore: plain("ZSCORE", fc.tuple(zset, pool.member), to.double),
  zrange: row({
    args: fc.tuple(zset, pool.index, pool.index),
    argv: (key, start, stop) => ["ZRANGE", key, String(start), String(stop)],
    result: to.same,
  }),
  zrangebyscore: row({
    args: optional(fc.tuple(zset, pool.bound, pool.bound), rangeOptions),
    argv: (key, min, max, options = {}) => [
      "ZRANGEBYSCORE",
      key,
      scoreWord(min),
      scoreWord(max),
      ...rangeWords(options),
    ],
    result: (reply, _key, _min, _max, options = {}) => (options.withScores ? to.scored(reply) : reply),
  }),
  zcard: plain("ZCARD", fc.tuple(zset), to.integer),
  zincrby: row({
    args: fc.tuple(zset, pool.score, pool.member),
    argv: (key, n, member) => ["ZINCRBY", key, scoreWord(n), member],
    result: to.double,
  }),
};

/** The methods of KVStore that are no command, or that have a test of their own beside this file. */
type Otherwise =
  | ("connect" | "disconnect" | "isConnected" | "status" | "health" | "multi" | "eval" | "scan")
  | ("subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "subscribeScoped" | "listen")
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount");

export type Method = Exclude<Extract<keyof KVStore, string>, Otherwise>;

export const commands: Record<Method, Command> = {
  ...strings,
  ...keyspace,
  ...hashes,
  ...sets,
  ...lists,
  ...sortedSets,
};
