// Generated from src/addon by `npm run build:native`. What stands before the first class comes from src/addon/types.d.ts.

/** A reply, in the shapes of RESP. Doubles arrive as numbers, infinite ones too. */
export type Reply = string | number | null | Reply[];

/** One word of a command, as Redis has it in its argv. */
export type Argument = string | number;

/** The words of a command after its name. A very long list is one array: spread, it overflows the stack. */
export type Arguments = Argument[] | [argv: Argument[]];

/** Runs the command of a row. Throws an Error with Redis's text and its first word as `code`. */
export type Run = (command: number, ...args: Arguments) => Reply;

/** Count of dropped messages, or null if more wait; then pattern or null, channel and message of each. */
export type Messages = [dropped: number | null, ...messages: (string | null)[]];

/** Makes an array of items, or adds them to one. */
export type Collect = (array: Reply[] | undefined, ...items: Reply[]) => Reply[];
