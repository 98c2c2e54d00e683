// The types, as a user of ES modules meets them.
import { createKV, KVError, type KVStore, MemoryKVStore } from "covara-kv";
import type { createDurableObjectKV } from "covara-kv/durable-object";
import { getGlobalKV, type SetOptions } from "covara-kv/kv";
import { expectTypeOf } from "expect-type";

const kv = await createKV({ type: "memory" });
expectTypeOf(kv).toEqualTypeOf<KVStore>();
expectTypeOf(getGlobalKV).returns.toEqualTypeOf<KVStore>();
expectTypeOf(new MemoryKVStore()).toExtend<KVStore>();
expectTypeOf(new KVError("ERR", "ERR text").code).toBeString();
expectTypeOf<SetOptions>().toEqualTypeOf<{ ex?: number; px?: number; nx?: boolean; xx?: boolean }>();
expectTypeOf<ReturnType<typeof createDurableObjectKV>>().toExtend<KVStore>();
// @ts-expect-error the native side cannot be imported
export type Native = typeof import("covara-kv/dist/index.js");
