// A glob may match other keys than in Redis. Random globs of KEYS, over an alphabet in which most characters have a meaning.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { localStores } from "./local.js";
import { globText } from "./pools.js";
import { check, runs } from "./property.js";
import { EXACT, pipeline, useRedis } from "./redis.js";
import { sorted } from "./replies.js";
import { literal } from "./steps.js";

const redis = useRedis(EXACT);
let compared = 0;

/** The forms in which a character may stand in a pattern. */
const FORMS: ((character: string) => string)[] = [
  (character) => character,
  () => "?",
  () => "*",
  (character) => `\\${character}`,
  (character) => `[${character}]`,
  (character) => `[^${character}]`,
  (character) => `[\\${character}x]`,
  (character) => `[!-${character}]`,
  (character) => `[z-${character}`,
];

/** A pattern made from a text, so that it has a chance to match that text. */
const likeness = fc.tuple(globText(6), fc.array(fc.constantFrom(...FORMS), { minLength: 6, maxLength: 6 }));
const derived = likeness.map(([text, forms]) =>
  [...text].map((character, at) => forms[at]?.(character)).join(""),
);

const run = fc.record({
  prefix: fc.constantFrom("", "app", "[a-z]", "\\*?^"),
  keys: fc.uniqueArray(globText(6), { minLength: 1, maxLength: 60, size: "max" }),
  patterns: fc.array(fc.oneof(globText(8), derived), { minLength: 1, maxLength: 60, size: "max" }),
});

for (const [name, open] of Object.entries(localStores))
  test(`the same keys match in ${name} as in Redis`, async () => {
    await check(run, runs(150), async ({ prefix, keys, patterns }) => {
      const before = prefix === "" ? "" : `${prefix}:`;
      // In Redis a backslash makes any character literal, also one without a meaning.
      const literally = [...before].map((character) => `\\${character}`).join("");
      const replies = await pipeline(redis.client, [
        ["FLUSHALL"],
        ...keys.map((key) => ["SET", before + key, ""]),
        ...patterns.map((pattern) => ["KEYS", literally + pattern]),
      ]);
      const kv = open(prefix, { strict: true });
      await Promise.all(keys.map((key) => kv.set(key, "")));
      const found = await Promise.all(patterns.map((pattern) => kv.keys(pattern)));
      for (const [index, pattern] of patterns.entries()) {
        const expected = replies[1 + keys.length + index] as string[];
        assert.deepEqual(
          sorted(found[index] as string[]),
          sorted(expected.map((key) => key.slice(before.length))),
          `keys(${literal(pattern)})`,
        );
        compared += keys.length;
      }
      await kv.disconnect();
    });
    console.log(`${compared.toLocaleString("en")} keys compared with patterns`);
  });
