// A stand-in of the framework: it makes the calls that the framework makes of its store, some of which nobody awaits.
export * from "./kv/index.mjs";
export { createPlainKV } from "./plain.mjs";
export { serve } from "./server.mjs";
