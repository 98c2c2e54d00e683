/** `Symbol.asyncDispose`, or the symbol that compilers use for it: other realms of Node.js lack it. */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");
