// Configurations that every way to make a store refuses.
import assert from "node:assert/strict";
import { createKV, createRedisKV, createRedisKVFromConfig, type RedisConfig, RedisKVStore } from "covara-kv";
import { errorOf } from "../replies.js";
import { withoutSecret } from "./servers.js";

export function thrownBy(make: () => unknown): unknown {
  try {
    make();
  } catch (error) {
    return error;
  }
  assert.fail("nothing was thrown");
}

export const asConfig = (value: unknown) => value as RedisConfig;

/** Fails unless every way to make a store refuses the configuration before it opens a connection. */
export async function refuses(config: unknown, code: string, message: RegExp): Promise<void> {
  const redis = asConfig(config);
  const errors = [
    thrownBy(() => new RedisKVStore(redis)),
    thrownBy(() => createRedisKV(redis)),
    thrownBy(() => createRedisKVFromConfig(redis)),
    await errorOf(createKV({ type: "redis", redis }), "createKV"),
  ];
  for (const error of errors) {
    assert.equal(withoutSecret(error).code, code, (error as Error).message);
    assert.match((error as Error).message, message);
  }
}
