import { createMemoryKV } from "covara-kv";
import { MapStore } from "./map-store.mjs";

/** What every key is put behind, in both stores. */
const PREFIX = "app";

/** What is compared, by the name it has on a command line. */
export const stores = {
  native: () => createMemoryKV(PREFIX),
  map: () => new MapStore(PREFIX),
};
