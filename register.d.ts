// `covara-kv/register` is loaded for what it does: it exports nothing.
export {};
