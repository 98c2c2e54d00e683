/** The channel of a subscription's events: its own, or that of the fleet. */
export type MarkedChannel = "own" | "fleet";

/** What a marked event ends with, which means nothing in JSON: `MARKS` of src/fanout/ways.rs. One mark for each change, in turn. */
const MARKS = [" ", "\t", "\n"] as const;
/** The most subscriptions that are remembered. The next event of another one is marked. */
const MOST = 10_000;

interface Last {
  /** Undefined if an event was sent whose outcome is not known. */
  readonly channel: MarkedChannel | undefined;
  readonly changes: number;
}

/**
 * In a cluster the two channels come by different connections. So the first event on another channel than the one before is marked: a
 * subscriber gives it once all that the other channel's home had sent has come.
 */
export class Marks {
  readonly #last = new Map<string, Last>();

  /** The mark of the next event of a subscription, if it is published on this channel. */
  next(subscription: string, channel: MarkedChannel): string {
    const last = this.#last.get(subscription);
    if (last?.channel === channel) return "";
    return MARKS[((last?.changes ?? 0) + 1) % MARKS.length] as string;
  }

  /** Events were published on a channel. */
  published(subscription: string, channel: MarkedChannel): void {
    const last = this.#last.get(subscription);
    const changes = (last?.changes ?? 0) + (last?.channel === channel ? 0 : 1);
    this.#note(subscription, { channel, changes });
  }

  /** Events may have been published on a channel. */
  unanswered(subscription: string, channel: MarkedChannel): void {
    this.published(subscription, channel);
    const { changes } = this.#last.get(subscription) as Last;
    this.#note(subscription, { channel: undefined, changes });
  }

  /** The subscription of the earliest event is forgotten first. */
  #note(subscription: string, last: Last): void {
    this.#last.delete(subscription);
    this.#last.set(subscription, last);
    if (this.#last.size <= MOST) return;
    for (const [oldest] of this.#last) {
      this.#last.delete(oldest);
      break;
    }
  }
}
