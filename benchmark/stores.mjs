import { createMemoryKV } from "covara-kv";
import { MapStore } from "./map-store.mjs";

/** The prefix of every key, in both stores. */
const PREFIX = "app";

/** The stores that are compared, by their names on a command line. */
export const stores = {
  native: () => createMemoryKV(PREFIX),
  map: () => new MapStore(PREFIX),
};
