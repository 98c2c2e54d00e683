// All data of a store, in a form that can be compared.
import type { KVStore } from "covara-kv";
import { hash, pairs, type Reply, scored, sorted, texts } from "./replies.js";

export interface Entry {
  readonly type: string;
  readonly expires: boolean;
  readonly value: unknown;
  /** Only of a small hash, whose fields Redis keeps in the order of insertion. */
  readonly fields?: string[];
}

export type State = Record<string, Entry>;

/** All data in one reply: a list of [key, type, ttl, encoding, value]. */
export const DUMP = `
local read = {
  string = {'GET'}, hash = {'HGETALL'}, set = {'SMEMBERS'},
  list = {'LRANGE', 0, -1}, zset = {'ZRANGE', 0, -1, 'WITHSCORES'},
}
local dump = {}
for at, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local command = read[kind]
  local value = redis.call(command[1], key, unpack(command, 2))
  dump[at] = {key, kind, redis.call('TTL', key), redis.call('OBJECT', 'ENCODING', key), value}
end
return dump`;

export function stateOf(dump: Reply): State {
  const entries = (
    dump as [key: string, type: string, ttl: string | number, encoding: string, value: Reply][]
  ).map(([key, type, ttl, encoding, value]): [string, Entry] => {
    const entry = { type, expires: Number(ttl) !== -1, value: READ[type]?.(value) };
    const ordered = type === "hash" && ["listpack", "ziplist"].includes(encoding);
    return [key, ordered ? { ...entry, fields: pairs(texts(value)).map(([field]) => field) } : entry];
  });
  return Object.fromEntries(entries);
}

const READ: Record<string, (reply: Reply) => unknown> = {
  string: (reply) => reply,
  hash,
  set: sorted,
  list: (reply) => reply,
  zset: scored,
};

/** The state of a store. It has the order of a hash's fields where `like` has it. */
export async function readState(kv: KVStore, like: State): Promise<State> {
  const read = async (key: string): Promise<[string, Entry]> => {
    const type = await kv.type(key);
    const expires = (await kv.ttl(key)) !== -1;
    const entry = { type, expires, value: await readValue(kv, type, key) };
    return [key, like[key]?.fields === undefined ? entry : { ...entry, fields: await kv.hkeys(key) }];
  };
  return Object.fromEntries(await Promise.all((await kv.keys("*")).map(read)));
}

async function readValue(kv: KVStore, type: string, key: string): Promise<unknown> {
  switch (type) {
    case "string":
      return kv.get(key);
    case "hash":
      return kv.hgetall(key);
    case "set":
      return sorted(await kv.smembers(key));
    case "list":
      return kv.lrange(key, 0, -1);
    case "zset":
      return kv.zrangebyscore(key, "-inf", "+inf", { withScores: true });
    default:
      throw new Error(`TYPE is ${type}`);
  }
}
