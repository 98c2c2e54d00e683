// A stand-in of the framework: it makes the framework's calls of its store, some of which are not awaited.
export * from "./kv/index.mjs";
export { createPlainKV } from "./plain.mjs";
export { serve } from "./server.mjs";
