export { DurableKVEngine } from "./engine.js";
export { CovaraKVDurableObject } from "./object.js";
export { createDurableObjectKV, DurableObjectKVStore } from "./store.js";
export type {
  DurableObjectKVOptions,
  DurableObjectNamespaceLike,
  DurableObjectStateLike,
  DurableObjectStorageLike,
  DurableObjectStubLike,
  WebSocketLike,
} from "./types.js";
