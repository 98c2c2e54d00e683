// Makes the results that docs/surface.md promises from Redis's replies. Written without ts/commands.ts: these tests would miss an error
// that both share.

/** A reply as ioredis gives it with `stringNumbers`: integers are text. */
export type Reply = string | null | Error | Reply[];

export type Convert = (reply: Reply) => unknown;

export const same: Convert = (reply) => reply;
export const nothing: Convert = () => undefined;
export const isOne: Convert = (reply) => reply === "1";
export const isOk: Convert = (reply) => reply === "OK";
export const integer: Convert = (reply) => Number(reply);

/** Redis 7.0 prints 17 digits of a score, which read back as the same number. */
export const double: Convert = (reply) => (reply === null ? null : number(String(reply)));

/** Members and scores in turn. Scores are written as JavaScript writes numbers, except the infinities. */
export const scored: Convert = (reply) =>
  texts(reply).map((text, index) => (index % 2 === 0 ? text : scoreText(number(text))));

/** `Object.fromEntries` makes a field `__proto__` a property like any other. */
export const hash: Convert = (reply) => Object.fromEntries(pairs(texts(reply)));

export const sorted = (list: unknown) => [...(list as string[])].sort();

export const texts = (reply: Reply) => reply as string[];

export function pairs<T>(flat: T[]): [T, T][] {
  return Array.from({ length: flat.length / 2 }, (_, index) => [
    flat[2 * index] as T,
    flat[2 * index + 1] as T,
  ]);
}

/** A score. A zero has no sign here: Redis drops the sign in small sorted sets and keeps it in large ones. */
function number(text: string): number {
  if (text === "inf") return Infinity;
  return text === "-inf" ? -Infinity : Number(text) + 0;
}

function scoreText(score: number): string {
  return Math.abs(score) === Infinity ? `${score < 0 ? "-" : ""}inf` : String(score);
}
