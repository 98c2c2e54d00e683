// A scan that misses keys, gives keys of other prefixes or does not end makes cleanups wrong on that backend.
import assert from "node:assert/strict";
import type { KVStore, ScanOptions } from "covara-kv";
import { onEveryBackend } from "../backends.js";
import { expectReplies, inAnyOrder, refusal, syntaxError } from "../replies.js";

/** Redis's globs: the keys that match, and those that do not. */
const globs: [pattern: string, matching: string[], others: string[]][] = [
  ["*", ["a", "*", "a b", "\0", "ä", "日本語"], []],
  ["a*", ["a", "ab", "a*"], ["", "ba", "A"]],
  ["*a", ["a", "ba", "aa"], ["ab"]],
  ["*a*b*", ["ab", "xaxbx", "aab"], ["ba", "a"]],
  ["**", ["a", "aa"], []],
  ["a?c", ["abc", "a?c", "a*c"], ["ac", "abbc", "aäc"]],
  ["a??c", ["aäc", "abbc"], ["abc"]],
  ["[abc]", ["a", "c"], ["d", "ab", "[abc]"]],
  ["[a-c]x", ["ax", "bx"], ["dx", "-x"]],
  ["[c-a]", ["b"], ["d", "-"]],
  ["[^a-c]", ["d", "^", "-"], ["a", "dd"]],
  ["[a^]", ["a", "^"], ["b"]],
  ["[a-]", ["a"], ["b"]],
  ["[\\]a]", ["]", "a"], ["\\"]],
  ["[]a", [], ["a", "]a", "[]a"]],
  ["[ab", ["a", "b"], ["[ab"]],
  ["\\*", ["*"], ["a", "\\*"]],
  ["\\[a]", ["[a]"], ["a"]],
  ["a\\", ["a\\"], ["a"]],
  ["a.c", ["a.c"], ["abc"]],
  ["(a|b)+$", ["(a|b)+$"], ["a", "ab"]],
  ["日*", ["日", "日本語"], ["本"]],
  ["a\0?", ["a\0b"], ["a\0", "ab"]],
];

onEveryBackend("scan", (test) => {
  test("of nothing", async ({ kv }) => {
    assert.deepEqual(await kv.keys("*"), []);
    assert.deepEqual(await allKeys(kv), []);
    assert.deepEqual(await allKeys(kv, { match: "*", count: 1_000 }), []);
  });

  for (const [pattern, matching, others] of globs) {
    test(`the pattern ${JSON.stringify(pattern)}`, async ({ kv }) => {
      for (const key of [...matching, ...others]) await kv.set(key, "v");
      await expectReplies(kv, [[["keys", pattern], inAnyOrder(...matching)]]);
      assert.deepEqual((await allKeys(kv, { match: pattern })).sort(), [...matching].sort());
    });
  }

  // As a regular expression such a pattern takes seconds on two hundred letters, and with twice the stars does not end.
  test("a pattern of many stars takes linear time", async ({ kv }) => {
    const pattern = `${"*a".repeat(40)}*b`;
    await kv.set("a".repeat(100_000), "v");
    await kv.set(`${"a".repeat(1_000)}b`, "v");
    assert.deepEqual(await kv.keys(pattern), [`${"a".repeat(1_000)}b`]);
    assert.deepEqual(await allKeys(kv, { match: pattern }), [`${"a".repeat(1_000)}b`]);
  });

  test("pages of every size give every key once", async ({ kv }) => {
    const names = Array.from({ length: 250 }, (_, index) => `key ${index}`).sort();
    await setAll(kv, names);
    for (const count of [1, 7, 10, 100, 1_000, Number.MAX_SAFE_INTEGER]) {
      assert.deepEqual((await allKeys(kv, { count })).sort(), names, `count ${count}`);
    }
    assert.deepEqual((await allKeys(kv)).sort(), names);
    assert.deepEqual((await allKeys(kv, { match: "key 1??", count: 3 })).length, 100);
    assert.deepEqual(await allKeys(kv, { match: "none*" }), []);
  });

  test("a page stays near its count", async ({ kv }) => {
    await setAll(
      kv,
      Array.from({ length: 1_000 }, (_, index) => `${index}`),
    );
    const { cursor, keys } = await kv.scan("0", { count: 10 });
    assert.notEqual(cursor, "0");
    assert.ok(keys.length < 100, `${keys.length} keys`);
    assert.match(cursor, /^[1-9]\d*$/);
  });

  // A scan that lists the keys anew for every page, and counts from the start, skips one key for each key deleted before its position.
  test("a key that stays from start to end is seen while others come and go", async ({ kv }) => {
    const staying = Array.from({ length: 500 }, (_, index) => `stays ${index}`);
    const leaving = Array.from({ length: 500 }, (_, index) => `leaves ${index}`);
    await setAll(
      kv,
      staying.flatMap((name, index) => [name, leaving[index] as string]),
    );
    const seen = new Set<string>();
    const churned = await churningScan(kv, (page, keys) => {
      for (const key of keys) seen.add(key);
      return [
        kv.del(...leaving.splice(0, 9), ...leaving.splice(-9)),
        kv.set(staying[page % 500] as string, "overwritten"),
      ];
    });
    assert.ok(churned > 10);
    assert.deepEqual(
      staying.filter((key) => !seen.has(key)),
      [],
    );
  });

  test("two scans do not disturb each other", async ({ kv }) => {
    const names = Array.from({ length: 100 }, (_, index) => `${index}`).sort();
    await setAll(kv, names);
    const scans = await Promise.all([allKeys(kv, { count: 3 }), allKeys(kv, { count: 7 })]);
    for (const keys of scans) assert.deepEqual(keys.sort(), names);
  });

  test("a cursor or a count that is none is refused", async ({ kv }) => {
    const invalidCursor = refusal("ERR", "ERR invalid cursor");
    await kv.set("k", "v");
    for (const cursor of ["x", "1.5", "0x1", "1 ", " 1", "99999999999999999999999"]) {
      await expectReplies(kv, [[["scan", cursor], invalidCursor]]);
    }
    for (const count of [0, -1]) await expectReplies(kv, [[["scan", "0", { count }], syntaxError]]);
  });

  test("a cursor that no scan gave is taken, and comes to an end", async ({ kv }) => {
    await setAll(
      kv,
      Array.from({ length: 100 }, (_, index) => `${index}`),
    );
    for (const start of ["1", "77", "4294967296", "18446744073709551615"]) {
      let cursor = start;
      for (let page = 0; cursor !== "0" || page === 0; page++) {
        assert.ok(page < 1_000, `from ${start} the scan does not end`);
        cursor = (await kv.scan(cursor)).cursor;
      }
    }
  });

  test("keys and scan take the prefix off", async ({ open, unique }) => {
    const store = await open({ prefix: `${unique("app")}:nested` });
    for (const key of ["a", ":", "", "app:nested:a"]) await store.set(key, "v");
    await expectReplies(store, [
      [["keys", "*"], inAnyOrder("a", ":", "", "app:nested:a")],
      [["keys", "a"], ["a"]],
      [["keys", ""], [""]],
      [["keys", "?"], inAnyOrder("a", ":")],
    ]);
    assert.deepEqual((await allKeys(store)).sort(), ["", ":", "a", "app:nested:a"]);
  });

  // A scan without a pattern gives the keys of other applications, cut short by the prefix's length. A prefix with a star or a bracket is
  // read as a glob.
  test("only the keys of the store's own prefix, which is taken literally", async ({ open, unique }) => {
    const name = unique("p");
    const prefixes = [
      name,
      `${name}*`,
      `${name}[a]`,
      `${name}a`,
      `${name}?`,
      `${name}\\`,
      `${name}*:a`,
      `[${name}`,
    ];
    const stores = await Promise.all(prefixes.map((prefix) => open({ prefix })));
    for (const [index, store] of stores.entries()) await store.set(`key of ${index}`, "v");
    for (const [index, store] of stores.entries()) {
      const own = [`key of ${index}`];
      const seen = (await allKeys(store)).filter((key) => !key.startsWith("a:"));
      assert.deepEqual(seen, own, prefixes[index]);
      assert.deepEqual(await store.keys("key*"), own, prefixes[index]);
      assert.deepEqual(await allKeys(store, { match: "key*", count: 1 }), own, prefixes[index]);
    }
  });

  test("a prefix of glob characters hides no key of its own", async ({ open, unique }) => {
    for (const name of ["*", "[a]", "[^a]", "\\", "?", "a[", "x]"]) {
      const store = await open({ prefix: `${unique("p")}${name}` });
      await store.set("k", "v");
      assert.deepEqual(await allKeys(store), ["k"], name);
      assert.deepEqual(await store.keys("[k]"), ["k"], name);
    }
  });
});

/** Sets keys in one turn: one after the other takes a Durable Object seconds. */
async function setAll(kv: KVStore, names: string[]): Promise<void> {
  await Promise.all(names.map((name) => kv.set(name, "v")));
}

/** All keys of a scan, page by page. */
async function allKeys(kv: KVStore, options?: ScanOptions): Promise<string[]> {
  const keys: string[] = [];
  let cursor = "0";
  do {
    const page = await kv.scan(cursor, options);
    keys.push(...page.keys);
    cursor = page.cursor;
  } while (cursor !== "0");
  return keys;
}

/** Scans while as many keys are added as deleted between pages, so that the store does not grow. Resolves to the number of pages. */
async function churningScan(
  kv: KVStore,
  onPage: (page: number, keys: string[]) => Promise<unknown>[],
): Promise<number> {
  const names = (page: number) => Array.from({ length: 15 }, (_, index) => `comes ${page}-${index}`);
  let cursor = "0";
  let page = 0;
  do {
    const result = await kv.scan(cursor, { count: 11 });
    cursor = result.cursor;
    await Promise.all(onPage(page, result.keys));
    await Promise.all(names(page).map((name) => kv.set(name, "v")));
    if (page > 0) await kv.del(...names(page - 1));
    page += 1;
    assert.ok(page < 10_000, "the scan does not end");
  } while (cursor !== "0");
  return page;
}
