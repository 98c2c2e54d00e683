// SCAN may miss keys, or break Redis's promise for keys that come and go between the pages.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KVStore, ScanOptions, ScanResult } from "covara-kv";
import fc from "fast-check";
import { differsIn } from "../servers.js";
import { localStores } from "./local.js";
import { failureOf, outcomeOf } from "./outcome.js";
import { globText } from "./pools.js";
import { check, runs } from "./property.js";
import { EXACT, pipeline, useRedis } from "./redis.js";
import { literal } from "./steps.js";

const redis = useRedis(EXACT);

const name = fc.oneof(
  fc.nat(400).map((number) => `key:${number}`),
  fc.string({ unit: "binary", minLength: 1, maxLength: 4 }),
  globText(4).filter((text) => text !== ""),
);
const names = fc.uniqueArray(name, { maxLength: 250, size: "max" });
const options: fc.Arbitrary<ScanOptions> = fc.record(
  {
    match: fc.oneof(fc.constantFrom("*", "key:*", "key:?", "*1*", "[k-]*"), globText(4)),
    count: fc.integer({ min: 1, max: 40 }),
  },
  { requiredKeys: [] },
);
const prefix = fc.constantFrom("", "app", "*[");

for (const [store, open] of Object.entries(localStores))
  test(`all pages of ${store} together have the keys that Redis's have`, () =>
    check(fc.record({ prefix, names, options }), runs(150), async ({ prefix, names, options }) => {
      await pipeline(redis.client, [["FLUSHALL"], ...names.map((name) => ["SET", name, ""])]);
      const kv = open(prefix, { strict: true });
      await Promise.all(names.map((name) => kv.set(name, "")));
      const expected = await allPages((cursor) => scanRedis(cursor, options));
      const found = await allPages((cursor) => kv.scan(cursor, options));
      assert.deepEqual(found, expected);
      await kv.disconnect();
    }));

/** The keys of all pages, without repetitions: Redis may return a key twice. */
async function allPages(scan: (cursor: string) => Promise<ScanResult>): Promise<string[]> {
  const seen = new Set<string>();
  let cursor = "0";
  do {
    const page = await scan(cursor);
    assert.match(page.cursor, /^\d+$/);
    for (const key of page.keys) seen.add(key);
    cursor = page.cursor;
  } while (cursor !== "0");
  return [...seen].sort();
}

async function scanRedis(cursor: string, { match, count }: ScanOptions): Promise<ScanResult> {
  const words = ["SCAN", cursor];
  if (match !== undefined) words.push("MATCH", match);
  if (count !== undefined) words.push("COUNT", String(count));
  const [reply] = await pipeline(redis.client, [words]);
  if (reply instanceof Error) throw reply;
  const [next, keys] = reply as [string, string[]];
  return { cursor: next, keys };
}

type Write = readonly ["set" | "del" | "expire" | "replace", key: string];

const visitor = fc.nat(60).map((number) => `visitor:${number}`);
const write: fc.Arbitrary<Write> = fc.tuple(
  fc.constantFrom("set", "set", "del", "expire", "replace"),
  visitor,
);

for (const [store, open] of Object.entries(localStores))
  test(`what stays in ${store} is seen, and what never was is not, whatever comes and goes between the pages`, () => {
    const run = fc.record({
      stay: fc.uniqueArray(name, { maxLength: 150, size: "max" }),
      visitors: fc.array(visitor, { maxLength: 60, size: "max" }),
      count: fc.integer({ min: 1, max: 20 }),
      writes: fc.array(fc.array(write, { maxLength: 12 }), { maxLength: 40, size: "max" }),
    });
    return check(run, runs(300), async ({ stay, visitors, count, writes }) => {
      const kv = open("", { strict: true });
      await Promise.all(interleaved(stay, visitors).map((name) => kv.set(name, "")));
      const known = new Set([...stay, ...visitors]);
      let page = 0;
      const seen = await allPages(async (cursor) => {
        for (const [kind, key] of (cursor !== "0" && writes[page++]) || []) {
          await apply(kv, kind, key);
          known.add(key);
        }
        return kv.scan(cursor, { count });
      });
      assert.deepEqual(
        stay.filter((key) => !seen.includes(key)),
        [],
        "stayed, and was not seen",
      );
      assert.deepEqual(
        seen.filter((key) => !known.has(key)),
        [],
        "was seen, and never set",
      );
      await kv.disconnect();
    });
  });

/** The items of both lists in turn, so that the deleted keys lie among those that stay. */
function interleaved(one: string[], other: string[]): string[] {
  const turns = Array.from({ length: Math.max(one.length, other.length) }, (_, turn) => [
    one[turn],
    other[turn],
  ]);
  return turns.flat().filter((key) => key !== undefined);
}

async function apply(kv: KVStore, kind: Write[0], key: string): Promise<void> {
  if (kind === "del") await kv.del(key);
  if (kind === "set") await kv.set(key, "");
  if (kind === "expire") await kv.expire(key, 0);
  if (kind === "replace") {
    await kv.del(key);
    await kv.rpush(key, "a list now");
  }
}

for (const [store, open] of Object.entries(localStores))
  test(`cursors and counts that are none are refused by ${store} as by Redis`, async () => {
    const cursors = ["0", "-0", "+0", "00", "--1", "0 ", "0x0", "0\0x", "one", "1.0", "\u0661"];
    cursors.push(
      "18446744073709551615",
      "18446744073709551616",
      "-18446744073709551615",
      "-99999999999999999999",
    );
    if (!differsIn("A cursor of SCAN that is none")) cursors.push("", "-1", " 0", "\0");
    const kv = open("", { strict: true });
    await redis.client.call("FLUSHALL");
    for (const cursor of cursors) {
      for (const count of [1, 1000, 2 ** 53 - 1, 0, -1]) {
        const outcome = await outcomeOf(kv.scan(cursor, { count }));
        const [reply] = await pipeline(redis.client, [["SCAN", cursor, "COUNT", String(count)]]);
        const expected =
          reply instanceof Error ? { failure: failureOf(reply) } : { value: { cursor: "0", keys: [] } };
        assert.deepEqual(outcome, expected, `scan(${literal(cursor)}, { count: ${count} })`);
      }
    }
  });
