import type { KVAdapter } from "./adapter.js";
import { reading } from "./arguments.js";
import { createDurableObjectKV } from "./backends/durable-object.js";
import { createMemoryKV } from "./backends/memory.js";
import { createRedisKVFromConfig } from "./backends/redis.js";
import type { KVConfig } from "./config.js";
import { KVError } from "./errors.js";
import { initializeEventSubscription } from "./fanout.js";

/**
 * The store of the process is kept under a name that every copy of the package knows: an application and the
 * framework that it uses may each have installed their own, and mean the same store. (A worker thread has a
 * global object, and so a store, of its own.)
 */
const GLOBAL = Symbol.for("covara-kv.global");
const holder = globalThis as { [GLOBAL]?: KVAdapter | undefined };

/**
 * Builds the store that `config.type` names, and connects it. Rejects before anything is opened with `CONFIG`
 * if the type is unknown, or what the type requires is missing; with `INVALID_ARGUMENT` if a field has a
 * wrong type; else with what `connect` rejects with.
 */
export async function createKV(config: KVConfig): Promise<KVAdapter> {
  const kv = reading("createKV", () => build(config));
  try {
    await kv.connect();
  } catch (error) {
    // Nobody else could end its attempts.
    await kv.disconnect();
    throw error;
  }
  return kv;
}

function build(config: KVConfig): KVAdapter {
  const { type, prefix, redis, durableObject, strict, shared } = config ?? {};
  switch (type) {
    case "memory":
      return createMemoryKV(prefix, {
        ...(strict !== undefined && { strict }),
        ...(shared !== undefined && { shared }),
      });
    case "redis":
      if (redis == null) throw new KVError("CONFIG", 'Redis configuration required for type "redis"');
      return createRedisKVFromConfig(redis, prefix);
    case "durable-object":
      if (durableObject?.namespace == null) {
        throw new KVError("CONFIG", 'Durable Object namespace required for type "durable-object"');
      }
      return createDurableObjectKV(durableObject.namespace, {
        ...(durableObject.name !== undefined && { name: durableObject.name }),
        ...(prefix !== undefined && { prefix }),
      });
    default:
      throw new KVError("CONFIG", 'Unknown KV type: it must be "memory", "redis" or "durable-object"');
  }
}

/**
 * {@link createKV}, then {@link setGlobalKV}; for every type but `memory` also
 * {@link initializeEventSubscription}.
 */
export async function initializeKV(config: KVConfig): Promise<KVAdapter> {
  const kv = await createKV(config);
  const before = holder[GLOBAL];
  setGlobalKV(kv);
  try {
    if (config.type !== "memory") await initializeEventSubscription();
  } catch (error) {
    holder[GLOBAL] = before;
    await kv.disconnect();
    throw error;
  }
  return kv;
}

/** Makes `kv` the store of the process. Throws `INVALID_ARGUMENT` if it is no store. */
export function setGlobalKV(kv: KVAdapter): void {
  if (!isAdapter(kv)) throw new KVError("INVALID_ARGUMENT", "setGlobalKV: kv must be a KVAdapter");
  holder[GLOBAL] = kv;
}

/** The store of the process. Throws while there is none. */
export function getGlobalKV(): KVAdapter {
  const kv = holder[GLOBAL];
  if (kv === undefined) {
    throw new KVError("CONFIG", "KV store not initialized: call initializeKV() or setGlobalKV() first");
  }
  return kv;
}

/** Whether the process has a store. */
export function hasGlobalKV(): boolean {
  return holder[GLOBAL] !== undefined;
}

/** Forgets the store of the process, without disconnecting it. */
export function clearGlobalKV(): void {
  holder[GLOBAL] = undefined;
}

/** Enough of the interface to tell a store from a Map or a client, and to let a test's stand-in pass. */
function isAdapter(value: unknown): boolean {
  const kv = (value ?? {}) as Partial<KVAdapter>;
  return [kv.get, kv.set, kv.del, kv.hgetall].every((method) => typeof method === "function");
}
