// The framework's key-value module: `covara-kv/register` puts this package in its place. Its own stores are left out.
/** @type {import("covara-kv").KVAdapter} */
let store;

export function setGlobalKV(kv) {
  store = kv;
}

export function getGlobalKV() {
  if (store === undefined) throw new Error("KV store not initialized");
  return store;
}
