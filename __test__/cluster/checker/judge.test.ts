// A checker that never finds anything proves nothing. So each test breaks one promise on purpose, and no other.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Failover, judgeFailovers } from "./failovers.js";
import type { Fault } from "./faults.js";
import { judge, noTally, type Round, type Tally, violations } from "./judge.js";
import type { Call, Stream, StreamKind } from "./workload.js";

const call = (number: number, outcome: Call["outcome"] = "done", result?: unknown): Call => ({
  number,
  start: 1_000 * number,
  end: 1_000 * number + 10,
  outcome,
  result,
});

const stream = (kind: StreamKind, calls: Call[], reads: Call[] = []): Stream => ({
  kind,
  keys: kind === "pair" ? ["a", "b"] : ["a"],
  slot: 1,
  calls,
  reads,
  due: [],
});

const fault = (from: number, to: number, slots: [number, number] = [0, 5]): Fault => ({
  kind: "kill -9",
  from,
  to,
  slots,
  isPlanned: false,
  losses: [{ from, to }],
  costs: [],
});

const round = (parts: Partial<Round>): Round => ({
  streams: [],
  faults: [],
  held: new Map(),
  heard: [],
  scans: [],
  deadline: 100,
  unsettled: 0,
  unanswered: 0,
  leftOpen: 0,
  lag: 0,
  ...parts,
});

const three = [call(1), call(2), call(3)];

/** Judges a round, and compares all figures but those that are only counted. */
function counts(name: string, parts: Partial<Round>, expected: Partial<Tally>): void {
  test(name, () => {
    const judged = judge(round(parts));
    const { calls: _, failed: __, missed: ___, scans: ____, toldGaps: _____, ...tally } = judged.tally;
    const { calls, failed, missed, scans, toldGaps, ...none } = noTally();
    assert.deepEqual(tally, { ...none, ...expected });
    const isBroken = Object.keys(expected).some((figure) => figure !== "lostByServer");
    assert.equal(violations({ ...noTally(), ...tally }, []).length > 0, isBroken);
  });
}

const list = (...texts: string[]) => new Map([["a", texts]]);

counts("all is well", { streams: [stream("list", three)], held: list("1", "2", "3") }, {});
counts("twice", { streams: [stream("list", three)], held: list("1", "2", "2", "3") }, { doubled: 1 });
counts("lost", { streams: [stream("list", three)], held: list("1", "3") }, { lost: 1 });
counts(
  "lost by a server",
  { streams: [stream("list", three)], held: list("1", "3"), faults: [fault(1_900, 2_050)] },
  { lostByServer: 1 },
);
counts(
  "lost while another shard had a fault, or this one at another time",
  {
    streams: [stream("list", three)],
    held: list("1", "3"),
    faults: [fault(1_900, 2_050, [2, 5]), fault(2_500, 2_800)],
  },
  { lost: 1 },
);
const cut = (lasted: number): Fault => ({ ...fault(1_900, 2_050), cut: { lasted, most: 1_150 } });
counts(
  "lost by a server that took writes for as long as it may, and in another for longer",
  { streams: [stream("list", three)], held: list("1", "3"), faults: [cut(1_200), cut(1_201)], lag: 50 },
  { lostByServer: 1, longLosses: 1 },
);
counts(
  "in another order",
  { streams: [stream("list", three)], held: list("1", "3", "2") },
  { outOfOrder: 1 },
);
counts(
  "run against its word; what is perhaps run may be there or not",
  {
    streams: [stream("list", [call(1, "not-run"), call(2, "perhaps"), call(3, "perhaps")])],
    held: list("1", "2"),
  },
  { ghosts: 1 },
);

const pair = (a: string[], b: string[]) =>
  new Map([
    ["a", a],
    ["b", b],
  ]);
counts(
  "half a transaction",
  { streams: [stream("pair", three)], held: pair(["1", "2", "3"], ["1", "2"]) },
  { unequal: 1 },
);

const counted = [call(1, "done", 1), call(2, "done", 2), call(3, "perhaps")];
counts("counted as called", { streams: [stream("counter", counted)], held: list("3") }, {});
counts("counted too often", { streams: [stream("counter", counted)], held: list("4") }, { doubled: 1 });
counts("counted too little", { streams: [stream("counter", counted)], held: list("1") }, { lost: 1 });
counts(
  "counted in another order",
  { streams: [stream("counter", [call(1, "done", 2), call(2, "done", 1)])], held: list("2") },
  { outOfOrder: 1 },
);

counts(
  "counted again what a server has lost, and afterwards in another order",
  {
    streams: [
      stream(
        "counter",
        [1, 2, 2, 4, 3].map((result, index) => call(index + 1, "done", result)),
      ),
    ],
    held: list("4"),
    faults: [fault(1_900, 2_050)],
  },
  { lostByServer: 1, outOfOrder: 1 },
);

counts("an older value stays", { streams: [stream("register", three)], held: list("2") }, { lost: 1 });
counts(
  "what is read is old, or too new",
  { streams: [stream("register", three, [call(2, "done", "0"), call(3, "done", "4")])], held: list("3") },
  { stale: 1, outOfOrder: 1 },
);

counts(
  "a read that was sent again behind a write whose reply was lost with its own",
  {
    streams: [stream("register", [call(1), call(2), call(3, "perhaps")], [call(2, "done", "3")])],
    held: list("3"),
  },
  {},
);

const heard = (numbers: number[], ...gaps: { from: number; to: number }[]) => [
  { subscriber: "one", numbers: new Map([["a", numbers]]), gaps },
];
counts(
  "a message missed untold",
  { streams: [stream("channel", three)], heard: heard([1, 3]) },
  { untoldGaps: 1 },
);
counts(
  "two spans of messages missed, one of them untold",
  {
    streams: [stream("channel", [...three, call(4), call(5)])],
    heard: heard([1, 4], { from: 4_900, to: 5_100 }),
  },
  { untoldGaps: 1 },
);
counts(
  "a message that was published behind the gap, though called before its end",
  {
    streams: [stream("channel", [call(1), { ...call(2), end: 2_150 }, call(3)])],
    heard: heard([1, 3], { from: 1_900, to: 2_040 }),
  },
  { untoldGaps: 1 },
);
counts(
  "the same, where the reply may have been seen late",
  {
    streams: [stream("channel", [call(1), { ...call(2), end: 2_150 }, call(3)])],
    heard: heard([1, 3], { from: 1_900, to: 2_040 }),
    lag: 20,
  },
  {},
);
counts(
  "a message twice, and late",
  { streams: [stream("channel", three)], heard: heard([1, 2, 3, 2]) },
  { messagesDoubled: 1, messagesOutOfOrder: 1 },
);
counts(
  "a message that a frozen node publishes when its publisher has given it up",
  { streams: [stream("channel", [call(1), call(2, "perhaps"), call(3)])], heard: heard([1, 3, 2]) },
  {},
);
counts(
  "a gap without a cause",
  { streams: [stream("channel", three)], heard: heard([1, 2, 3], { from: 1_000, to: 2_100 }) },
  { causelessGaps: 1 },
);
counts(
  "gaps that are short, or have a cause",
  {
    streams: [stream("channel", three)],
    heard: heard([1, 2, 3], { from: 1, to: 900 }, { from: 9_000, to: 11_000 }),
    faults: [fault(8_000, 8_500)],
  },
  {},
);

counts(
  "late and never",
  {
    streams: [stream("list", [{ ...call(1), end: 1_300 }])],
    held: list("1"),
    unsettled: 1,
    unanswered: 2,
    leftOpen: 3,
  },
  { late: 1, unsettled: 1, unanswered: 2, leftOpen: 3 },
);
const scan = (from: number, missing?: number) => ({ from, to: from + 50, missing });
counts(
  "a scan that misses a key",
  { scans: [scan(1_000, 0), scan(1_100, 2), scan(1_200, 0)] },
  { incompleteScans: 1 },
);
counts(
  "scans that fail in a fault, in a planned failover, and at another time",
  {
    scans: [scan(2_100), scan(1_100), scan(3_000), scan(3_100, 0)],
    faults: [{ ...fault(1_000, 1_200), isPlanned: true }, fault(1_900, 2_200)],
  },
  { failedScans: 3, scansFailedNeedlessly: 2 },
);
counts(
  "a call that fails in a planned failover",
  {
    streams: [stream("list", [call(1), call(2, "perhaps"), call(3, "not-run")])],
    held: list("1"),
    faults: [{ ...fault(1_500, 2_500), isPlanned: true }],
  },
  { failedNeedlessly: 1 },
);

test("how the other shards went while one failed over, and what that cost", () => {
  const failover = { from: 1_000, to: 3_000 };
  const costs = [
    { from: 1_000, to: 3_000, connections: 1, slots: 2, calls: 0 },
    { from: 3_000, to: 4_000, connections: 0, slots: 3, calls: 0 },
  ];
  const due = [1, 2, 3, 4].map((second) => ({ at: 1_000 * second, calls: 2 }));
  const other = { ...stream("list", [call(1), call(2, "perhaps")]), slot: 9, due };
  const [judged] = judgeFailovers(
    [stream("list", three), other],
    [{ ...fault(1_000, 4_000), failover, costs }],
    [scan(850), scan(1_950)],
  );
  assert.deepEqual(judged, {
    kind: "kill -9",
    milliseconds: 2_000,
    others: 0.25,
    stall: 1_990,
    changes: [
      { slotsCalls: 2, scans: 1, connections: 1 },
      { slotsCalls: 3, scans: 0, connections: 0 },
    ],
  });
  assert.equal(violations(noTally(), judged ? [judged] : []).length, 1);
});

const failed = (others: number, ...changes: Failover["changes"]): Failover => ({
  kind: "kill -9",
  milliseconds: 1,
  others,
  stall: 1,
  changes,
});

test("a failover that costs more than its changes explain", () => {
  const cheap = { slotsCalls: 3, scans: 0, connections: 0 };
  const dear = { slotsCalls: 12, scans: 1, connections: 13 };
  assert.equal(violations(noTally(), [failed(1, dear, cheap)]).length, 2);
  const half = { slotsCalls: 7, scans: 1, connections: 12 };
  assert.deepEqual(violations(noTally(), [failed(1, half), failed(1, half)]), []);
  assert.equal(violations(noTally(), [failed(1, half, half)]).length, 1);
});

test("one failover in ten may stop the other shards, and not two", () => {
  const failovers = (slow: number) =>
    Array.from({ length: 20 }, (_, index) => failed(index < slow ? 0.5 : 0.95));
  assert.deepEqual(violations(noTally(), failovers(2)), []);
  assert.equal(violations(noTally(), failovers(3)).length, 1);
});
