import type { Messages, RedisEvent } from "../../native.js";
import { CHANNEL_OF } from "../fanout/channels.js";
import { clearTimeout, setTimeout } from "../timers.js";
import { Session } from "./redis-session.js";

/** After a gap messages are delivered in steps, over a second: thousands of clients read their state again. */
const STEPS = 50;
const STEP_MS = 20;
const LEAST_A_STEP = 100;

/** Called with the messages of streams. */
export interface StreamCallbacks {
  happened(event: RedisEvent): void;
  heard(messages: Messages): void;
  /** Delivers a message of our own, which was not published. */
  deliver(channel: string, message: string): void;
}

/**
 * The callbacks of `subscribe` on the channels of the fan-out, such as the framework's. They get messages for streams of this process,
 * which native code knows by the records that the process wrote.
 */
export class Streams {
  readonly session: Session;
  readonly #deliver: StreamCallbacks["deliver"];
  /** Messages to deliver after a gap. */
  readonly #due = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;

  /** `store` is the session of the store that has the streams. */
  constructor(store: Session, { happened, heard, deliver }: StreamCallbacks) {
    this.#deliver = deliver;
    this.session = new Session(store, "", { happened, heard, failed: () => {} });
  }

  /** Resolves once the channel is live. `isWanted` tells whether it is still wanted then. */
  async subscribe(channel: string, isWanted: () => boolean): Promise<void> {
    await this.session.subscribe(false, channel);
    if (channel === CHANNEL_OF.events && isWanted()) this.session.hearStreams(true);
  }

  async unsubscribe(channel: string): Promise<void> {
    this.left(channel);
    await this.session.unsubscribe(false, channel);
  }

  /** A channel has no callbacks left. */
  left(channel: string): void {
    if (channel === CHANNEL_OF.events) this.session.hearStreams(false);
    for (const [message, of] of this.#due) if (of === channel) this.#due.delete(message);
  }

  /** Messages may have been missed: makes the client of each stream read again, with the framework's own messages. */
  missed(): void {
    const { subscriptions, resources } = this.session.streams();
    for (const subscriptionId of subscriptions) {
      const event = { type: "invalidate", reason: "fanout-gap" };
      this.#due.set(JSON.stringify({ type: "invalidate", subscriptionId, event }), CHANNEL_OF.events);
    }
    for (const resource of resources) this.#due.set(JSON.stringify({ resource }), CHANNEL_OF.aggregate);
    clearTimeout(this.#timer);
    this.#step(Math.max(LEAST_A_STEP, Math.ceil(this.#due.size / STEPS)));
  }

  #step(count: number): void {
    let left = count;
    for (const [message, channel] of this.#due) {
      if (left === 0) break;
      left -= 1;
      this.#due.delete(message);
      this.#deliver(channel, message);
    }
    this.#timer = this.#due.size === 0 ? undefined : setTimeout(() => this.#step(count), STEP_MS);
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#due.clear();
    await this.session.close();
  }
}
