import { TextEncoder } from "node:util";

/** Not the global one: jsdom has none. */
const encoder = new TextEncoder();

/** The bytes of a text in UTF-8. */
export const utf8 = (text: string): Uint8Array => encoder.encode(text);
