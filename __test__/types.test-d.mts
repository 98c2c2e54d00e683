// The types, as a user of ES modules meets them.
import { createKV, type KVAdapter, KVError, MemoryKVStore } from "covara-kv";
import type { createDurableObjectKV } from "covara-kv/durable-object";
import { getGlobalKV, type SetOptions } from "covara-kv/kv";
import { expectTypeOf } from "expect-type";

const kv = await createKV({ type: "memory" });
expectTypeOf(kv).toEqualTypeOf<KVAdapter>();
expectTypeOf(getGlobalKV).returns.toEqualTypeOf<KVAdapter>();
expectTypeOf(new MemoryKVStore()).toExtend<KVAdapter>();
expectTypeOf(new KVError("ERR", "ERR text").code).toBeString();
expectTypeOf<SetOptions>().toEqualTypeOf<{ ex?: number; px?: number; nx?: boolean; xx?: boolean }>();
expectTypeOf<ReturnType<typeof createDurableObjectKV>>().toExtend<KVAdapter>();
// @ts-expect-error the native side is nobody's to import
export type Native = typeof import("covara-kv/dist/index.js");
