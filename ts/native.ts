import type * as Native from "../native.js";
import { loadBinary } from "./loader.js";

/** The binary of this platform. Its types are those of native.d.ts, which its build generates. */
export const { commandIndex, sweepExpired, trustAsNode, MemoryStore, RedisClient, FanoutThread } =
  loadBinary() as typeof Native;
