export type {
  ExpiryOptions,
  KVAdapter,
  KVStore,
  KVStoreTransaction,
  KVTransaction,
  ListenOptions,
  MessageCallback,
  ScanOptions,
  ScanResult,
  ScopedSubscription,
  SetOptions,
  Subscription,
  ZRangeOptions,
} from "./adapter.js";
export type {
  DurableObjectKVOptions,
  DurableObjectNamespaceLike,
  DurableObjectStateLike,
  DurableObjectStorageLike,
  DurableObjectStubLike,
  WebSocketLike,
} from "./backends/durable-object/index.js";
export {
  CovaraKVDurableObject,
  createDurableObjectKV,
  DurableKVEngine,
  DurableObjectKVStore,
} from "./backends/durable-object/index.js";
export type { MemoryKVOptions } from "./backends/memory.js";
export { createMemoryKV, MemoryKVStore } from "./backends/memory.js";
export type { RedisClientLike } from "./backends/redis.js";
export { createRedisKV, createRedisKVFromConfig, RedisKVStore } from "./backends/redis.js";
export type {
  DurableObjectConfig,
  FanoutMode,
  KVConfig,
  RedisConfig,
  RedisNode,
  RedisTlsConfig,
} from "./config.js";
export { createKV, initializeKV } from "./create.js";
export type { CommandMessage, DiagnosticsBackend, DiagnosticsMessages } from "./diagnostics.js";
export { KVError, type KVErrorDetails } from "./errors.js";
export type {
  ConnectionHealth,
  ConnectionRole,
  Gap,
  KVEvents,
  KVHealth,
  KVListener,
  KVStatus,
} from "./events.js";
export type {
  AggregateWatcher,
  DeliverEvent,
  FanoutEvent,
  FanoutStats,
  HandlerOptions,
  StreamStats,
} from "./fanout/index.js";
export {
  getActiveHandlerCount,
  getAggregateWatcherCount,
  getFanoutStats,
  initializeEventSubscription,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  trackSubscription,
  unregisterHandler,
  untrackSubscription,
} from "./fanout/index.js";
export { clearGlobalKV, getGlobalKV, hasGlobalKV, setGlobalKV } from "./global.js";
export { guardUnhandledRejections } from "./guard.js";
export type { KVErrorReason } from "./reasons.js";
