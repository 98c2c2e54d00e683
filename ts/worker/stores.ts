// Placeholders of the Rust stores in a Worker: imports of them can be bundled, and their error says what to use instead.
import { KVError } from "../errors.js";

function refuse(what: string): never {
  const instead = 'use { type: "durable-object", durableObject: { namespace: env.<its binding> } }';
  throw new KVError("UNSUPPORTED", `${what} needs native code, which no Worker runs: ${instead}`, {
    reason: "in-worker",
  });
}

export class MemoryKVStore {
  constructor() {
    createMemoryKV();
  }
}

export class RedisKVStore {
  constructor() {
    createRedisKV();
  }
}

export const createMemoryKV = () => refuse("The memory store");
export const createRedisKV = () => refuse("The Redis store");
export const createRedisKVFromConfig = createRedisKV;
