// Entries may leave in any order. A ring that loses one never answers its caller, and one that keeps it leaks memory.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ring } from "../../ts/backends/ring.js";

test("items leave in any order, however many there are, and leave nothing behind", () => {
  const ring = new Ring<string>();
  for (let round = 0; round < 3; round++) {
    const ids = Array.from({ length: 1_000 }, (_, index) => ring.add(`${round} ${index}`));
    const order = ids.map((id, index) => ({ id, index })).sort((a, b) => (a.id % 7) - (b.id % 7));
    for (const { id, index } of order) assert.equal(ring.take(id), `${round} ${index}`);
    assert.equal(ring.take(ids[0] as number), undefined);
  }
});

test("one that stays long is not lost when the ring grows around it", () => {
  const ring = new Ring<string>();
  const first = ring.add("first");
  for (let index = 0; index < 10_000; index++) assert.equal(ring.take(ring.add(`${index}`)), `${index}`);
  assert.equal(ring.take(first), "first");
});

// A command that waits for a lost node may do so for hours, while others come and go by the million.
test("one that stays long does not make the ring grow", () => {
  const ring = new Ring<string>();
  const first = ring.add("first");
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < 4_000_000; index++) ring.take(ring.add("other"));
  const grown = process.memoryUsage().heapUsed - before;
  assert.ok(grown < 8 << 20, `${grown} bytes`);
  assert.equal(ring.take(first), "first");
  assert.equal(ring.take(first), undefined);
});

// The native side counts up from the first id of a batch, and does not know where ids wrap around.
test("ids wrap around, and those past the end mean the first ones", () => {
  const end = 2 ** 30;
  const ring = new Ring<string>(end - 2);
  const ids = ["a", "b", "c", "d"].map((item) => ring.add(item));
  assert.deepEqual(ids, [end - 2, end - 1, 0, 1]);
  assert.deepEqual(
    [ring.take(end - 1), ring.take(end), ring.take(1), ring.take(end - 2)],
    ["b", "c", "d", "a"],
  );
});
