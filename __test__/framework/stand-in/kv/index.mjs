// The framework's key-value module, which `covara-kv/register` replaces with this package. The framework's own stores are left out.
/** @type {import("covara-kv").KVAdapter} */
let store;

export function setGlobalKV(kv) {
  store = kv;
}

export function getGlobalKV() {
  if (store === undefined) throw new Error("KV store not initialized");
  return store;
}
