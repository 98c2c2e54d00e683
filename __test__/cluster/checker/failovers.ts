// Judges the failovers of a round: how the other shards went meanwhile, and what each change of the map cost.
import { covers, type Fault, type Span } from "./faults.js";
import type { Stream } from "./workload.js";

/** What one change of the map cost the clients. */
export interface Change {
  readonly slotsCalls: number;
  /** SCANs that ended meanwhile: the last page of each may ask for the map. */
  readonly scans: number;
  readonly connections: number;
}

/** What one failover meant for the clients. */
export interface Failover {
  readonly kind: string;
  readonly milliseconds: number;
  /** Calls that were done on the other shards meanwhile, divided by those that were due. */
  readonly others: number;
  /** The longest time without any of those, in milliseconds. */
  readonly stall: number;
  /** The takeover, and, if the old master comes back as a replica, what follows it. */
  readonly changes: readonly Change[];
}

/** A shorter time says nothing about throughput. */
const WINDOW = 500;

/** How many CLUSTER SLOTS calls all stores of a process may make for one failover with all its changes, beside those of SCANs. */
export const MOST_SLOTS_CALLS = 10;
/**
 * The most new connections for one change of the map: 8 = new and old master × commands and messages × 2 stores. Plus 4: a node may close the first connection when its
 * role changes.
 */
export const MOST_CONNECTIONS = 12;

/** Judges the calls on the other shards during each failover, and its cost. */
export function judgeFailovers(
  streams: readonly Stream[],
  faults: readonly Fault[],
  scans: readonly Span[],
): Failover[] {
  return faults.flatMap(({ kind, slots, failover, costs }) => {
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
        changes: costs.map(({ from, to, slots, connections }) => ({
          slotsCalls: slots,
          scans: scans.filter((scan) => from <= scan.to && scan.to <= to).length,
          connections,
        })),
      },
    ];
  });
}

/** The number below which this share of the others lies. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(share * sorted.length)] ?? Number.NaN;
}

export const middle = (numbers: readonly number[]) => quantile(numbers, 0.5);
