/** `Symbol.asyncDispose`, or what compilers of `await using` take for it: Node.js gives it to its main realm alone. */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");
