// What must hold after a round, whatever was done to the cluster: counted for every client, and said in words where it was broken.
import type { Fault, Span } from "./faults.js";
import type { Call, Stream } from "./workload.js";

/** What one subscriber heard of a channel, in the order in which it came, and which gaps it was told of. */
export interface Heard {
  readonly subscriber: string;
  readonly numbers: ReadonlyMap<string, readonly number[]>;
  readonly gaps: readonly Span[];
}

/** What the servers hold in the end: the texts of a list, or of a string as the only one. */
export type Held = ReadonlyMap<string, readonly string[]>;

/** A round as it was, for `judge`. */
export interface Round {
  readonly streams: readonly Stream[];
  readonly faults: readonly Fault[];
  readonly held: Held;
  readonly heard: readonly Heard[];
  /** For each whole SCAN, how many it missed of the keys that existed all the time. */
  readonly scans: readonly number[];
  /** By when each call was to settle, the lag of this process included. */
  readonly deadline: number | undefined;
  /** Calls that had not settled in the end. */
  readonly unsettled: number;
  /** Commands that the client took for unanswered in the end. */
  readonly unanswered: number;
}

export interface Tally {
  calls: number;
  failed: number;
  /** While nothing was broken: in a planned failover, a resharding, a pause. */
  failedNeedlessly: number;
  /** Numbers that are in a list twice, and counters that counted more than was called. */
  doubled: number;
  /** Acknowledged and gone, though no server had lost it. */
  lost: number;
  /** Acknowledged and lost by a server that was killed, frozen, cut off or not asked. */
  lostByServer: number;
  /** Said not to have been run, and there. */
  ghosts: number;
  /** Neighbours of one list, replies of one counter, and reads, that are not in the order of the calls. */
  outOfOrder: number;
  /** Reads of what was overwritten before the call. */
  stale: number;
  late: number;
  unsettled: number;
  unanswered: number;
  /** Pairs of lists that a transaction was to keep equal. */
  unequal: number;
  messagesDoubled: number;
  messagesOutOfOrder: number;
  /** Messages that were acknowledged and never heard. */
  missed: number;
  /** Spans of missed messages that no gap covers. */
  untoldGaps: number;
  toldGaps: number;
  /** Gaps of more than a second in which nothing had been done. */
  causelessGaps: number;
  scans: number;
  incompleteScans: number;
}

/** How the clients took one failover. */
export interface Failover {
  readonly kind: string;
  readonly milliseconds: number;
  /** Calls done on the other shards meanwhile, over those that were due. */
  readonly others: number;
  /** The longest time without any of those, in milliseconds. */
  readonly stall: number;
  readonly slotsCalls: number;
  readonly connections: number;
}

/** The shortest time in which throughput says something. */
const WINDOW = 500;
/** Clocks of two processes, and what is on its way. */
const SLACK = 100;
/** After a fault a client may need so long to notice and to tell. */
const AFTERMATH = 5_000;

export const noTally = (): Tally => ({
  calls: 0,
  failed: 0,
  failedNeedlessly: 0,
  doubled: 0,
  lost: 0,
  lostByServer: 0,
  ghosts: 0,
  outOfOrder: 0,
  stale: 0,
  late: 0,
  unsettled: 0,
  unanswered: 0,
  unequal: 0,
  messagesDoubled: 0,
  messagesOutOfOrder: 0,
  missed: 0,
  untoldGaps: 0,
  toldGaps: 0,
  causelessGaps: 0,
  scans: 0,
  incompleteScans: 0,
});

const overlaps = (a: Span, b: Span, slack = SLACK) => a.from <= b.to + slack && b.from <= a.to + slack;
const covers = ([first, last]: readonly [number, number], slot: number) => first <= slot && slot <= last;

/** When a server may have lost what it acknowledged for this slot. */
const lossesOf = (faults: readonly Fault[], slot: number): Span[] =>
  faults.flatMap(({ losses, slots }) => (covers(slots, slot) ? losses : []));

const within = (spans: readonly Span[], { start, end }: Call) =>
  spans.some((span) => overlaps(span, { from: start, to: end }, 0));

export function judge(round: Round): Tally {
  const tally = noTally();
  for (const stream of round.streams) {
    const losses = lossesOf(round.faults, stream.slot);
    judgeCalls(tally, [...stream.calls, ...stream.reads], round);
    const texts = (key: string) => round.held.get(key) ?? [];
    const [key, other = key] = stream.keys;
    if (stream.kind === "list") judgeList(tally, stream.calls, texts(key), losses);
    if (stream.kind === "pair") {
      judgeList(tally, stream.calls, texts(key), losses);
      if (texts(key).join() !== texts(other).join()) tally.unequal += 1;
    }
    if (stream.kind === "counter") judgeCounter(tally, stream.calls, Number(texts(key)[0] ?? 0), losses);
    if (stream.kind === "register") judgeRegister(tally, stream, Number(texts(key)[0] ?? 0), losses);
    if (stream.kind === "channel")
      for (const heard of round.heard) judgeChannel(tally, stream, heard.numbers.get(key) ?? [], heard.gaps);
  }
  for (const { gaps } of round.heard) {
    tally.toldGaps += gaps.length;
    const isCaused = (gap: Span) =>
      round.faults.some(({ from, to }) => overlaps(gap, { from, to: to + AFTERMATH }));
    tally.causelessGaps += gaps.filter((gap) => gap.to - gap.from > 1_000 && !isCaused(gap)).length;
  }
  tally.unsettled = round.unsettled;
  tally.unanswered = round.unanswered;
  tally.scans = round.scans.length;
  tally.incompleteScans = round.scans.filter((missing) => missing > 0).length;
  return tally;
}

function judgeCalls(
  tally: Tally,
  calls: readonly Call[],
  { faults, deadline = Number.POSITIVE_INFINITY }: Round,
): void {
  const failed = calls.filter(({ outcome }) => outcome === "not-run" || outcome === "perhaps");
  const planned = faults.filter(({ isPlanned }) => isPlanned);
  tally.calls += calls.length;
  tally.failed += failed.length;
  tally.failedNeedlessly += failed.filter(({ start }) =>
    planned.some(({ from, to }) => from <= start && start <= to),
  ).length;
  tally.late += calls.filter(({ start, end }) => end - start > deadline + SLACK).length;
}

/** Numbers that are there twice, not there, there against their word, and not in order. */
function judgeList(
  tally: Tally,
  calls: readonly Call[],
  texts: readonly string[],
  losses: readonly Span[],
): void {
  const numbers = texts.map(Number);
  const present = new Set(numbers);
  tally.doubled += numbers.length - present.size;
  tally.outOfOrder += inversions(numbers);
  for (const call of calls) {
    if (call.outcome === "not-run" && present.has(call.number)) tally.ghosts += 1;
    if (call.outcome !== "done" || present.has(call.number)) continue;
    tally[within(losses, call) ? "lostByServer" : "lost"] += 1;
  }
}

/** How many numbers come directly behind a greater one. */
const inversions = (numbers: readonly number[]) =>
  numbers.filter((number, index) => index > 0 && number < (numbers[index - 1] as number)).length;

function judgeCounter(tally: Tally, calls: readonly Call[], final: number, losses: readonly Span[]): void {
  const done = calls.filter(({ outcome }) => outcome === "done");
  const perhaps = calls.filter(({ outcome }) => outcome === "perhaps" || outcome === "pending").length;
  tally.doubled += Math.max(0, final - done.length - perhaps);
  const missing = Math.max(0, done.length - final);
  const excused = Math.min(missing, done.filter((call) => within(losses, call)).length);
  tally.lostByServer += excused;
  tally.lost += missing - excused;
  // A server that had lost some counts them again.
  const replies = done.filter((call) => !within(losses, call)).map(({ result }) => Number(result));
  if (losses.length === 0) tally.outOfOrder += inversions(replies);
}

function judgeRegister(tally: Tally, stream: Stream, final: number, losses: readonly Span[]): void {
  const set = new Map(stream.calls.map((call) => [call.number, call]));
  const ended = set.get(final);
  if (ended?.outcome === "not-run") tally.ghosts += 1;
  const later = stream.calls.filter(({ number, outcome }) => number > final && outcome === "done");
  const lost = later.filter((call) => !within(losses, call));
  tally.lost += lost.length > 0 ? 1 : 0;
  tally.lostByServer += lost.length === 0 && later.length > 0 ? 1 : 0;
  // In a shard that lost something, what was read before may be gone.
  const isQuiet = (call: Call) => !within(losses, call);
  let acknowledged = 0;
  const acknowledgements = stream.calls
    .filter(({ outcome }) => outcome === "done")
    .sort((a, b) => a.end - b.end);
  let next = 0;
  for (const read of stream.reads) {
    for (; (acknowledgements[next]?.end ?? Number.POSITIVE_INFINITY) < read.start; next++)
      acknowledged = Math.max(acknowledged, acknowledgements[next]?.number ?? 0);
    if (read.outcome !== "done") continue;
    const seen = Number(read.result ?? 0);
    if (seen > read.number) tally.outOfOrder += 1;
    if (seen < acknowledged && isQuiet(read) && isQuiet(set.get(acknowledged) as Call)) tally.stale += 1;
  }
}

function judgeChannel(
  tally: Tally,
  { calls }: Stream,
  numbers: readonly number[],
  gaps: readonly Span[],
): void {
  const heard = new Set(numbers);
  tally.messagesDoubled += numbers.length - heard.size;
  tally.messagesOutOfOrder += inversions(numbers);
  let wasUntold = false;
  for (const call of calls) {
    if (call.outcome === "not-run" && heard.has(call.number)) tally.ghosts += 1;
    if (call.outcome !== "done" || heard.has(call.number)) {
      wasUntold &&= call.outcome !== "done";
      continue;
    }
    tally.missed += 1;
    const isTold = gaps.some((gap) => overlaps(gap, { from: call.start, to: call.end }));
    if (!isTold && !wasUntold) tally.untoldGaps += 1;
    wasUntold = !isTold;
  }
}

/** How the calls on the other shards went while one failed over. */
export function judgeFailovers(streams: readonly Stream[], faults: readonly Fault[]): Failover[] {
  return faults.flatMap(({ kind, slots, failover, cost }) => {
    if (failover === undefined) return [];
    const { from } = failover;
    const to = Math.max(failover.to, from + WINDOW);
    const isMeanwhile = (time: number) => from <= time && time < to;
    const others = streams.filter(({ slot }) => !covers(slots, slot));
    const due = others.flatMap(({ due }) => due).filter(({ at }) => isMeanwhile(at));
    const done = others
      .flatMap(({ calls, reads }) => [...calls, ...reads])
      .filter(({ outcome, end }) => outcome === "done" && isMeanwhile(end))
      .map(({ end }) => end)
      .sort((a, b) => a - b);
    const edges = [from, ...done, to];
    return [
      {
        kind,
        milliseconds: failover.to - from,
        others: done.length / due.reduce((sum, { calls }) => sum + calls, 0),
        stall: Math.max(...edges.slice(1).map((end, index) => end - (edges[index] as number))),
        slotsCalls: cost.slots,
        connections: cost.connections,
      },
    ];
  });
}

/** CLUSTER SLOTS calls that one failover may cost all stores of a process. */
const MOST_SLOTS_CALLS = 10;
/** New connections for it: to the new master and the old one, for commands and for messages, of each of the two stores. */
const MOST_CONNECTIONS = 8;
/** Of the calls on the other shards while one fails over, in the median: on a machine that others use one failover alone says little. */
const LEAST_OTHERS = 0.9;

const RULES: { [Figure in keyof Tally]?: string } = {
  failedNeedlessly: "calls failed while nothing was broken",
  doubled: "writes ran twice",
  lost: "acknowledged writes are gone, and no server had lost them",
  ghosts: "commands ran of which the error says that they did not",
  outOfOrder: "calls of one key ran in another order",
  stale: "reads gave what had been overwritten before",
  late: "calls settled after their deadline",
  unsettled: "calls never settled",
  unanswered: "commands are counted as unanswered when none is",
  unequal: "transactions ran in part",
  messagesDoubled: "messages came twice",
  messagesOutOfOrder: "messages came in another order",
  untoldGaps: "spans of messages were missed, and no gap tells of it",
  causelessGaps: "gaps of more than a second had no cause",
  incompleteScans: "scans missed keys that existed all the time",
};

/** What was broken, in words; nothing for a client that keeps what ours promises. */
export function violations(tally: Tally, failovers: readonly Failover[]): string[] {
  const broken = (Object.entries(RULES) as [keyof Tally, string][])
    .filter(([figure]) => tally[figure] > 0)
    .map(([figure, words]) => `${tally[figure]} ${words}`);
  for (const { kind, slotsCalls, connections } of failovers) {
    if (slotsCalls > MOST_SLOTS_CALLS) broken.push(`${kind}: ${slotsCalls} calls of CLUSTER SLOTS`);
    if (connections > MOST_CONNECTIONS) broken.push(`${kind}: ${connections} new connections`);
  }
  const others = middle(failovers.map(({ others }) => others));
  if (others < LEAST_OTHERS) broken.push(`the other shards had ${others.toFixed(2)} of what was due`);
  return broken;
}

export function middle(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
