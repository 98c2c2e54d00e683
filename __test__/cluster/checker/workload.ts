// The load: streams of calls, each on keys of its own, with a log of the outcome of every call.
import { channelOf } from "../../framework/events.js";
import { keyIn, shareOf, slotOf } from "../../redis-cluster.js";
import type { CheckedClient } from "./clients.js";
import type { Random } from "./random.js";

/** A call of one stream. Times are in milliseconds since the Unix epoch. */
export interface Call {
  /** Grows with each call of the stream. It is the value that is pushed, set or published; for INCR it only counts. */
  readonly number: number;
  readonly start: number;
  end: number;
  outcome: "pending" | "done" | "not-run" | "perhaps";
  result?: unknown;
  error?: string;
}

export type StreamKind = "list" | "counter" | "register" | "pair" | "channel" | "event";

export interface Stream {
  readonly kind: StreamKind;
  /** The key, both keys of a pair, the channel, or the own channel of a subscription of the framework. */
  readonly keys: readonly [string, ...string[]];
  readonly slot: number;
  readonly calls: Call[];
  /** GETs of a register, each called right behind a SET. `number` is that of the SET. */
  readonly reads: Call[];
  /** How many calls were due at which time, also those that were left out as too many were pending. */
  readonly due: { readonly at: number; readonly calls: number }[];
}

/** How many streams of each kind a shard has. */
const STREAMS: Record<StreamKind, number> = {
  list: 3,
  counter: 2,
  register: 2,
  pair: 2,
  channel: 2,
  event: 2,
};
/** A stream waits while so many of its calls are pending. */
const MOST_PENDING = 256;
/** Calls of one stream come in bursts, so that a redirection meets several calls of one key in flight. */
const BURST = [1, 8] as const;
const PAUSE = [5, 45] as const;

/** Streams on slots of all shards, whose keys have `name` in them. */
export function streamsOn(shards: number, name: string, random: Random): Stream[] {
  const streams: Stream[] = [];
  for (let shard = 0; shard < shards; shard++) {
    for (const [kind, count] of Object.entries(STREAMS) as [StreamKind, number][]) {
      for (let index = 0; index < count; index++) {
        // Two streams may share a slot, but never a key.
        const given = keyIn(random.integer(...shareOf(shard, shards)), `${name}:${kind}${index}`);
        const key = kind === "event" ? channelOf(given) : given;
        const keys = kind === "pair" ? ([`${key}:a`, `${key}:b`] as const) : ([key] as const);
        streams.push({ kind, keys, slot: slotOf(key), calls: [], reads: [], due: [] });
      }
    }
  }
  return streams;
}

/** Calls the client on all streams until it is stopped. */
export class Load {
  readonly #client: CheckedClient;
  readonly #random: Random;
  readonly #next = new Map<Stream, number>();
  readonly #pending = new Set<Call>();
  readonly #timer: NodeJS.Timeout;
  #last = Date.now();
  /** The most that the timer was late. Nothing runs meanwhile, so a call may settle so much later. */
  lag = 0;

  constructor(
    client: CheckedClient,
    readonly streams: readonly Stream[],
    random: Random,
  ) {
    this.#client = client;
    this.#random = random;
    this.#timer = setInterval(() => this.#turn(), 5);
  }

  #turn(): void {
    const now = Date.now();
    this.lag = Math.max(this.lag, now - this.#last - 5);
    this.#last = now;
    for (const stream of this.streams) {
      if ((this.#next.get(stream) ?? 0) > now) continue;
      this.#next.set(stream, now + this.#random.integer(...PAUSE));
      const burst = this.#random.integer(...BURST);
      stream.due.push({ at: now, calls: stream.kind === "register" ? 2 * burst : burst });
      for (let index = 0; index < burst && isFree(stream); index++) this.#call(stream);
    }
  }

  #call(stream: Stream): void {
    const { kind, calls, reads } = stream;
    const number = calls.length + 1;
    this.#log(calls, number, this.#send(stream, `${number}`));
    if (kind === "register") this.#log(reads, number, this.#client.get(stream.keys[0]));
  }

  #send({ kind, keys: [key, other = key] }: Stream, text: string): Promise<unknown> {
    switch (kind) {
      case "list":
        return this.#client.rpush(key, text);
      case "counter":
        return this.#client.incr(key);
      case "register":
        return this.#client.set(key, text);
      case "pair":
        return this.#client.pushBoth(key, other, text);
      case "channel":
      case "event":
        return this.#client.publish(key, text);
    }
  }

  #log(log: Call[], number: number, promise: Promise<unknown>): void {
    const call: Call = { number, start: Date.now(), end: Number.NaN, outcome: "pending" };
    log.push(call);
    this.#pending.add(call);
    const settle = (outcome: Call["outcome"]) => {
      call.end = Date.now();
      call.outcome = outcome;
      this.#pending.delete(call);
    };
    promise.then(
      (result) => {
        if (typeof result !== "object" || result === null) call.result = result;
        settle("done");
      },
      (error: unknown) => {
        call.error = String(error);
        settle(this.#client.mayHaveRun(error) ? "perhaps" : "not-run");
      },
    );
  }

  /** Stops the load. Resolves once every call has settled, or after `timeout` ms to how many have not. */
  async stop(timeout: number): Promise<number> {
    clearInterval(this.#timer);
    const deadline = Date.now() + timeout;
    while (this.#pending.size > 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20));
    return this.#pending.size;
  }
}

/** Whether the stream may make another call. Only one call is looked at, as calls need not settle in their order. */
function isFree({ calls }: Stream): boolean {
  const oldest = calls.at(-MOST_PENDING);
  return oldest === undefined || oldest.outcome !== "pending";
}
