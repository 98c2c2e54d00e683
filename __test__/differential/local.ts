// The stores that need no server: each opens empty, with a prefix.
import { createDurableObjectKV, createMemoryKV, type KVStore } from "covara-kv";
import { FakeNamespace } from "../durable-object/fake-namespace.js";
import { FakeSqlStorage, type FakeStorage } from "../durable-object/fake-storage.js";

export interface LocalOptions {
  strict?: boolean;
}

/** A store on a Durable Object of its own. */
export const onDurableObject =
  (newStorage: () => FakeStorage) =>
  (prefix: string, options: LocalOptions = {}): KVStore =>
    createDurableObjectKV(new FakeNamespace(newStorage), { prefix, ...options });

export const localStores: Record<string, (prefix: string, options?: LocalOptions) => KVStore> = {
  memory: createMemoryKV,
  "the Durable Object": onDurableObject(() => new FakeSqlStorage()),
};
