// Judges a round: counts what must not happen, whatever is done to the cluster, and describes the first findings.
import { type Failover, MOST_CONNECTIONS, MOST_SLOTS_CALLS, quantile } from "./failovers.js";
import { covers, type Fault, type Span } from "./faults.js";
import type { Call, Stream } from "./workload.js";

/** What one subscriber heard of a channel, in the order in which it came, and which gaps it was told of. */
export interface Heard {
  readonly subscriber: string;
  readonly numbers: ReadonlyMap<string, readonly number[]>;
  readonly gaps: readonly Span[];
}

/** What the servers hold in the end, by key: the texts of a list, or the one text of a string. */
export type Held = ReadonlyMap<string, readonly string[]>;

/** A whole SCAN, and how many it missed of the keys that existed all the time. Undefined if it failed. */
export interface Scan extends Span {
  readonly missing: number | undefined;
}

/** All that is known of a round. */
export interface Round {
  readonly streams: readonly Stream[];
  readonly faults: readonly Fault[];
  readonly held: Held;
  readonly heard: readonly Heard[];
  readonly scans: readonly Scan[];
  /** Within how many milliseconds each call must settle, with the lag of this process. */
  readonly deadline: number | undefined;
  /** Calls that had not settled in the end. */
  readonly unsettled: number;
  /** Commands that all clients count as unanswered in the end. */
  readonly unanswered: number;
  /** How many more connections clients have in the end than before the faults. */
  readonly leftOpen: number;
  /** How late this process may have seen a reply, in milliseconds. */
  readonly lag: number;
}

export interface Tally {
  calls: number;
  failed: number;
  /** While nothing was broken: in a planned failover, a resharding, a pause. */
  failedNeedlessly: number;
  /** Numbers that are twice in a list, and what counters have above the number of calls. */
  doubled: number;
  /** Acknowledged writes that are gone, though no server may have lost them. */
  lost: number;
  /** Acknowledged writes that a server lost as it was killed, frozen, cut off or not asked. */
  lostByServer: number;
  /** Masters that went on acknowledging writes for longer than a cut explains: all that they lost would be excused. */
  longLosses: number;
  /** Commands whose error says that they did not run, but whose effect is there. */
  ghosts: number;
  /** Neighbours in a list, replies of a counter, and reads that are not in the order of the calls. */
  outOfOrder: number;
  /** Reads of what was overwritten before the call. */
  stale: number;
  late: number;
  unsettled: number;
  unanswered: number;
  leftOpen: number;
  /** Pairs of lists that differ, though each transaction pushes to both. */
  unequal: number;
  messagesDoubled: number;
  messagesOutOfOrder: number;
  /** Messages that were acknowledged and never heard. */
  missed: number;
  /** Spans of missed messages that no gap covers. */
  untoldGaps: number;
  toldGaps: number;
  /** Gaps of more than a second that no fault explains. */
  causelessGaps: number;
  scans: number;
  failedScans: number;
  /** While nothing was broken. */
  scansFailedNeedlessly: number;
  incompleteScans: number;
}

/** The clocks of two processes differ, and messages take their time. */
const SLACK = 100;
/** How long after the end of a fault a gap that it causes may begin: connections of a node that wakes end a little later. */
const AFTERMATH = 1_000;

export const noTally = (): Tally => ({
  calls: 0,
  failed: 0,
  failedNeedlessly: 0,
  doubled: 0,
  lost: 0,
  lostByServer: 0,
  longLosses: 0,
  ghosts: 0,
  outOfOrder: 0,
  stale: 0,
  late: 0,
  unsettled: 0,
  unanswered: 0,
  leftOpen: 0,
  unequal: 0,
  messagesDoubled: 0,
  messagesOutOfOrder: 0,
  missed: 0,
  untoldGaps: 0,
  toldGaps: 0,
  causelessGaps: 0,
  scans: 0,
  failedScans: 0,
  scansFailedNeedlessly: 0,
  incompleteScans: 0,
});

const overlaps = (a: Span, b: Span, slack = SLACK) => a.from <= b.to + slack && b.from <= a.to + slack;

/** When a server may have lost what it acknowledged for this slot. */
const lossesOf = (faults: readonly Fault[], slot: number): Span[] =>
  faults.flatMap(({ losses, slots }) => (covers(slots, slot) ? losses : []));

const within = (spans: readonly Span[], { start, end }: Call) =>
  spans.some((span) => overlaps(span, { from: start, to: end }, 0));

/** How many findings of each kind are described. */
const MOST_EXAMPLES = 4;

/** All findings, counted, and the first ones described. */
class Findings {
  readonly tally = noTally();
  readonly examples: string[] = [];

  constructor(readonly faults: readonly Fault[]) {}

  add(figure: keyof Tally, { keys: [key], slot }: Stream, call: Call, count = 1, behind?: Call): void {
    this.tally[figure] += count;
    if (count === 0 || !(figure in RULES)) return;
    if (this.examples.filter((example) => example.startsWith(`${figure}:`)).length === MOST_EXAMPLES) return;
    const { number, start, end, outcome, error } = call;
    const before = this.faults.filter(({ from }) => from <= end).at(-1);
    const when =
      before === undefined
        ? "before all faults"
        : `called ${start - before.from} ms and ${outcome} ${end - before.from} ms after the begin of ${before.kind} on slots ${before.slots.join("-")}, which took ${before.to - before.from} ms`;
    const order =
      behind === undefined
        ? ""
        : `, behind number ${behind.number}, called ${behind.start - start} ms and ${behind.outcome} ${behind.end - start} ms after its call`;
    this.examples.push(
      `${figure}: ${key} (slot ${slot}), number ${number}, ${when}${order} ${error ?? ""}`.trim(),
    );
  }
}

export function judge(round: Round): { tally: Tally; examples: readonly string[] } {
  const findings = new Findings(round.faults);
  const { tally } = findings;
  for (const stream of round.streams) {
    const losses = lossesOf(round.faults, stream.slot);
    judgeCalls(findings, stream, round);
    const texts = (key: string) => round.held.get(key) ?? [];
    const [key, other = key] = stream.keys;
    if (stream.kind === "list") judgeList(findings, stream, texts(key), losses);
    if (stream.kind === "pair") {
      judgeList(findings, stream, texts(key), losses);
      if (texts(key).join() !== texts(other).join()) tally.unequal += 1;
    }
    if (stream.kind === "counter") judgeCounter(findings, stream, Number(texts(key)[0] ?? 0), losses);
    if (stream.kind === "register") judgeRegister(findings, stream, Number(texts(key)[0] ?? 0), losses);
    if (stream.kind === "channel" || stream.kind === "event")
      for (const heard of round.heard)
        judgeChannel(findings, stream, heard.numbers.get(key) ?? [], heard.gaps, round.lag);
  }
  for (const { gaps } of round.heard) {
    tally.toldGaps += gaps.length;
    const isCaused = (gap: Span) =>
      round.faults.some(({ from, to }) => overlaps(gap, { from, to: to + AFTERMATH }));
    tally.causelessGaps += gaps.filter((gap) => gap.to - gap.from > 1_000 && !isCaused(gap)).length;
  }
  const isLong = ({ cut }: Fault) => cut !== undefined && cut.lasted > cut.most + round.lag;
  tally.longLosses = round.faults.filter(isLong).length;
  tally.unsettled = round.unsettled;
  tally.unanswered = round.unanswered;
  tally.leftOpen = round.leftOpen;
  judgeScans(tally, round);
  return findings;
}

function judgeScans(tally: Tally, { scans, faults }: Round): void {
  const failed = scans.filter(({ missing }) => missing === undefined);
  const breaking = faults.filter(({ isPlanned }) => !isPlanned);
  tally.scans = scans.length - failed.length;
  tally.failedScans = failed.length;
  tally.scansFailedNeedlessly = failed.filter(
    (scan) => !breaking.some((fault) => overlaps(scan, fault)),
  ).length;
  tally.incompleteScans = scans.filter(({ missing = 0 }) => missing > 0).length;
}

function judgeCalls(
  findings: Findings,
  stream: Stream,
  { faults, deadline = Number.POSITIVE_INFINITY }: Round,
): void {
  const planned = faults.filter(({ isPlanned }) => isPlanned);
  for (const call of [...stream.calls, ...stream.reads]) {
    const { start, end, outcome } = call;
    findings.tally.calls += 1;
    if (end - start > deadline + SLACK) findings.add("late", stream, call);
    if (outcome === "done" || outcome === "pending") continue;
    findings.tally.failed += 1;
    if (planned.some(({ from, to }) => from <= start && start <= to))
      findings.add("failedNeedlessly", stream, call);
  }
}

/** Finds numbers that are there twice, missing, there against their error's word, or out of order. */
function judgeList(
  findings: Findings,
  stream: Stream,
  texts: readonly string[],
  losses: readonly Span[],
): void {
  const numbers = texts.map(Number);
  const present = countsOf(numbers);
  addInversions(findings, "outOfOrder", stream, numbers);
  for (const call of stream.calls) {
    const times = present.get(call.number) ?? 0;
    if (times > 1) findings.add("doubled", stream, call, times - 1);
    if (call.outcome === "not-run" && times > 0) findings.add("ghosts", stream, call);
    if (call.outcome === "done" && times === 0)
      findings.add(within(losses, call) ? "lostByServer" : "lost", stream, call);
  }
}

function countsOf(numbers: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const number of numbers) counts.set(number, (counts.get(number) ?? 0) + 1);
  return counts;
}

/** Adds each number that comes directly behind a greater one. */
function addInversions(
  findings: Findings,
  figure: "outOfOrder" | "messagesOutOfOrder",
  stream: Stream,
  numbers: readonly number[],
): void {
  for (const [index, number] of numbers.entries()) {
    const call = stream.calls[number - 1];
    const before = numbers[index - 1] ?? 0;
    if (call !== undefined && number < before)
      findings.add(figure, stream, call, 1, stream.calls[before - 1]);
  }
}

function judgeCounter(findings: Findings, stream: Stream, final: number, losses: readonly Span[]): void {
  const { calls } = stream;
  const last = calls.at(-1);
  if (last === undefined) return;
  const done = calls.filter(({ outcome }) => outcome === "done");
  const perhaps = calls.filter(({ outcome }) => outcome === "perhaps" || outcome === "pending").length;
  findings.add("doubled", stream, last, Math.max(0, final - done.length - perhaps));
  const missing = Math.max(0, done.length - final);
  const excused = Math.min(missing, done.filter((call) => within(losses, call)).length);
  findings.add("lostByServer", stream, last, excused);
  findings.add("lost", stream, last, missing - excused);
  // A server that has lost increments counts the same numbers again: those of calls that it may have lost.
  const kept = done.filter((call) => !within(losses, call));
  for (const [index, call] of kept.entries())
    if (Number(call.result) < Number(kept[index - 1]?.result ?? 0)) findings.add("outOfOrder", stream, call);
}

function judgeRegister(findings: Findings, stream: Stream, final: number, losses: readonly Span[]): void {
  const { calls, reads } = stream;
  const ended = calls[final - 1];
  if (ended?.outcome === "not-run") findings.add("ghosts", stream, ended);
  const isQuiet = (call: Call) => !within(losses, call);
  const overwritten = calls.filter(({ number, outcome }) => number > final && outcome === "done");
  const lost = overwritten.find(isQuiet) ?? overwritten[0];
  if (lost !== undefined) findings.add(isQuiet(lost) ? "lost" : "lostByServer", stream, lost);
  const acknowledgements = calls.filter(({ outcome }) => outcome === "done").sort((a, b) => a.end - b.end);
  let acknowledged: Call | undefined;
  let next = 0;
  for (const read of reads) {
    for (let call = acknowledgements[next]; call && call.end < read.start; call = acknowledgements[++next])
      if (call.number > (acknowledged?.number ?? 0)) acknowledged = call;
    if (read.outcome !== "done") continue;
    const seen = Number(read.result ?? 0);
    // A read whose reply was lost is sent again, behind writes whose replies were lost with it.
    const isRepeated = calls[seen - 1]?.outcome === "perhaps";
    if (seen > read.number && !isRepeated) findings.add("outOfOrder", stream, read);
    // In a shard that lost something, what was acknowledged before may be gone.
    if (acknowledged !== undefined && seen < acknowledged.number && isQuiet(read) && isQuiet(acknowledged))
      findings.add("stale", stream, read);
  }
}

function judgeChannel(
  findings: Findings,
  stream: Stream,
  numbers: readonly number[],
  gaps: readonly Span[],
  lag: number,
): void {
  const heard = countsOf(numbers);
  // A frozen node that wakes may publish a message that its publisher has given up.
  const isKept = (number: number) => stream.calls[number - 1]?.outcome !== "perhaps";
  addInversions(findings, "messagesOutOfOrder", stream, numbers.filter(isKept));
  let wasUntold = false;
  for (const call of stream.calls) {
    const times = heard.get(call.number) ?? 0;
    if (times > 1) findings.add("messagesDoubled", stream, call, times - 1);
    if (call.outcome === "not-run" && times > 0) findings.add("ghosts", stream, call);
    if (call.outcome !== "done") continue;
    const isMissed = times === 0;
    // A message that waits for its home is published when that has come, so just before the reply.
    const isTold = gaps.some((gap) => overlaps(gap, { from: call.end - lag, to: call.end }));
    if (isMissed) findings.tally.missed += 1;
    if (isMissed && !isTold && !wasUntold) findings.add("untoldGaps", stream, call);
    wasUntold = isMissed && !isTold;
  }
}

/** Of the due calls, other shards must do this share during a failover. */
const LEAST_OTHERS = 0.9;
/** The share of failovers that may do less: one says little on a busy machine. */
const SPARED = 0.1;

const RULES: { [Figure in keyof Tally]?: string } = {
  failedNeedlessly: "calls failed while nothing was broken",
  doubled: "writes ran twice",
  lost: "acknowledged writes are gone, and no server had lost them",
  longLosses: "masters that were cut off acknowledged writes for too long",
  ghosts: "commands ran of which the error says that they did not",
  outOfOrder: "calls of one key ran in another order",
  stale: "reads gave what had been overwritten before",
  late: "calls settled after their deadline",
  unsettled: "calls never settled",
  unanswered: "commands are counted as unanswered when none is",
  leftOpen: "more connections are open than before the faults",
  unequal: "transactions ran in part",
  messagesDoubled: "messages came twice",
  messagesOutOfOrder: "messages came in another order",
  untoldGaps: "spans of messages were missed, and no gap tells of it",
  causelessGaps: "gaps of more than a second had no cause",
  scansFailedNeedlessly: "scans failed while nothing was broken",
  incompleteScans: "scans missed keys that existed all the time",
};

/** The broken promises, in words. Empty for a client that keeps all promises of ours. */
export function violations(tally: Tally, failovers: readonly Failover[]): string[] {
  const broken = (Object.entries(RULES) as [keyof Tally, string][])
    .filter(([figure]) => tally[figure] > 0)
    .map(([figure, words]) => `${tally[figure]} ${words}`);
  for (const { kind, changes } of failovers) {
    const slotsCalls = changes.reduce(
      (sum, { slotsCalls, scans }) => sum + Math.max(0, slotsCalls - scans),
      0,
    );
    if (slotsCalls > MOST_SLOTS_CALLS) broken.push(`${kind}: ${slotsCalls} calls of CLUSTER SLOTS`);
    for (const { connections } of changes)
      if (connections > MOST_CONNECTIONS) broken.push(`${kind}: ${connections} new connections`);
  }
  const others = quantile(
    failovers.map(({ others }) => others),
    SPARED,
  );
  if (others < LEAST_OTHERS) broken.push(`the other shards had ${others.toFixed(2)} of what was due`);
  return broken;
}
