import type { KVStore } from "./adapter.js";
import { reading } from "./arguments.js";
import { createDurableObjectKV } from "./backends/durable-object/index.js";
import { createMemoryKV } from "./backends/memory.js";
import { createRedisKVFromConfig } from "./backends/redis.js";
import type { DurableObjectConfig, KVConfig } from "./config.js";
import { KVError } from "./errors.js";
import { initializeEventSubscription } from "./fanout/index.js";
import { type Fields, type FieldsOptions, fieldsOf, type Given, warnOfField } from "./fields.js";
import { clearGlobalKV, currentKV, setGlobalKV } from "./global.js";

const FIELDS: Fields<KVConfig> = {
  type: { also: ["backend", "driver"] },
  prefix: { also: ["keyPrefix"] },
  redis: { also: ["valkey"] },
  durableObject: { also: [] },
  strict: { also: [] },
  shared: { also: [] },
};

const DURABLE_OBJECT_FIELDS: Fields<DurableObjectConfig> = {
  namespace: { also: ["binding"] },
  name: { also: ["id"] },
};

/** The fields that each type uses. */
const HEARD: Record<KVConfig["type"], readonly (keyof KVConfig)[]> = {
  memory: ["type", "prefix", "strict", "shared"],
  redis: ["type", "prefix", "redis"],
  "durable-object": ["type", "prefix", "strict", "durableObject"],
};

/**
 * Builds the store that `config.type` names, and connects it. Before anything is opened, rejects with `CONFIG` if the type is unknown, or
 * what the type requires is missing, and with `INVALID_ARGUMENT` if a field has a wrong type. Then rejects as `connect` does.
 *
 * Only an object's own fields count. A field that is unknown, or that the type does not use, has no effect, and a process
 * warning (`COVARA_KV_CONFIG`) names it.
 *
 * @example
 * const kv = await createKV({ type: "memory", prefix: "app" });
 * await kv.set("greeting", "hello");
 * await kv.get("greeting"); // "hello"
 */
export async function createKV(config: KVConfig): Promise<KVStore> {
  const kv = reading("createKV", () => build(config));
  try {
    await kv.connect();
  } catch (error) {
    // Ends its attempts to connect: the caller has no store to disconnect.
    await kv.disconnect();
    throw error;
  }
  return kv;
}

function build(config: KVConfig): KVStore {
  const fields = fieldsIn<KVConfig>(config, { fields: FIELDS });
  const { type, prefix, redis, strict, shared } = fields;
  if (typeof type !== "string" || !Object.hasOwn(HEARD, type)) {
    throw new KVError("CONFIG", 'Unknown KV type: it must be "memory", "redis" or "durable-object"', {
      reason: "field",
    });
  }
  for (const name of Object.keys(FIELDS) as (keyof KVConfig)[]) {
    if (fields[name] == null || HEARD[type].includes(name)) continue;
    warnOfField(`${name} is not for the type "${type}" and changes nothing`);
  }
  switch (type) {
    case "memory":
      return createMemoryKV(prefix, {
        ...(strict !== undefined && { strict }),
        ...(shared !== undefined && { shared }),
      });
    case "redis":
      if (redis == null)
        throw new KVError("CONFIG", 'Redis configuration required for type "redis"', { reason: "field" });
      return createRedisKVFromConfig(redis, prefix);
    case "durable-object": {
      const where = { fields: DURABLE_OBJECT_FIELDS, path: "durableObject" };
      const { namespace, name } = fieldsIn<DurableObjectConfig>(fields.durableObject, where);
      if (namespace == null) {
        throw new KVError("CONFIG", 'Durable Object namespace required for type "durable-object"', {
          reason: "field",
        });
      }
      return createDurableObjectKV(namespace, {
        ...(name !== undefined && { name }),
        ...(prefix !== undefined && { prefix }),
        ...(strict !== undefined && { strict }),
      });
    }
  }
}

/** A value that is no object has no fields: the error is that of the missing field. */
function fieldsIn<T extends object>(value: unknown, options: FieldsOptions<T>): Given<T> {
  return fieldsOf<T>(typeof value === "object" && value !== null ? value : {}, options);
}

/**
 * {@link createKV}, then {@link setGlobalKV}; for every type but `memory` also
 * {@link initializeEventSubscription}.
 *
 * @example
 * const kv = await initializeKV({ type: "redis", redis: { url } });
 * getGlobalKV() === kv; // true
 */
export async function initializeKV(config: KVConfig): Promise<KVStore> {
  const kv = await createKV(config);
  const before = currentKV();
  setGlobalKV(kv);
  try {
    if (config.type !== "memory") await initializeEventSubscription();
  } catch (error) {
    // A store that another call has set meanwhile stays.
    if (currentKV() === kv) {
      if (before === undefined) clearGlobalKV();
      else setGlobalKV(before);
    }
    await kv.disconnect();
    throw error;
  }
  return kv;
}
