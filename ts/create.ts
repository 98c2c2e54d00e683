import type { KVAdapter } from "./adapter.js";
import { reading } from "./arguments.js";
import { createDurableObjectKV } from "./backends/durable-object/index.js";
import { createMemoryKV } from "./backends/memory.js";
import { createRedisKVFromConfig } from "./backends/redis.js";
import type { KVConfig } from "./config.js";
import { KVError } from "./errors.js";
import { initializeEventSubscription } from "./fanout/index.js";
import { clearGlobalKV, currentKV, setGlobalKV } from "./global.js";

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
        ...(strict !== undefined && { strict }),
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
  const before = currentKV();
  setGlobalKV(kv);
  try {
    if (config.type !== "memory") await initializeEventSubscription();
  } catch (error) {
    // Another may have come meanwhile, and stays.
    if (currentKV() === kv) {
      if (before === undefined) clearGlobalKV();
      else setGlobalKV(before);
    }
    await kv.disconnect();
    throw error;
  }
  return kv;
}
