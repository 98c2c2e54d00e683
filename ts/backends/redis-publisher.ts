// Publishes events: on the channel of the subscription if it has a subscriber, else on the channel of the fleet.

import { KVError } from "../errors.js";
import { CHANNEL_OF } from "../fanout/channels.js";
import { now } from "../timers.js";
import { isUnanswered } from "../unawaited.js";

/** How long a channel without subscribers is remembered, where it takes a round trip to find out. */
const REMEMBERED_MS = 1_000;
/** The delay before a refused way of publishing is tried again. */
const REFUSED_MS = 60_000;

/**
 * Returns a negative count for the subscription's own channel. PUBLISH counts subscribers of patterns, and NUMSUB does not: such a
 * subscriber must not be taken for the process with the stream.
 */
export const SCRIPT = `local own, fleet, message = unpack(ARGV)
if redis.call('PUBSUB', 'NUMSUB', own)[2] > 0 then return -redis.call('PUBLISH', own, message) end
return redis.call('PUBLISH', fleet, message)`;

/** The form in which the framework writes an event, up to the id of its subscription. Other forms go to the channel of the fleet. */
const EVENT = /^\{"type":"\w+","subscriptionId":"([^"\\]+)",/;

/** The channel of an event, and the number of its receivers. */
export interface Published {
  readonly receivers: number;
  /** Whether it was published on the subscription's own channel. */
  readonly isTargeted: boolean;
}

/** The commands of the store that the publisher needs. */
export interface Commands {
  publish(channel: string, message: string): Promise<number>;
  script(script: string, args: readonly string[]): Promise<number>;
}

/** How events are published: by a script; by two PUBLISH if scripts are refused; by one if the channels are refused. */
export type Way = "script" | "commands" | "fleet";

/** The subscription of an event. Undefined for another form than the usual one. */
export function subscriptionOf(message: unknown): string | undefined {
  return typeof message === "string" ? EVENT.exec(message)?.[1] : undefined;
}

/** Publishes the events of a store. The events of one subscription keep the order of the calls, also when the way changes. */
export class Publisher {
  readonly #commands: Commands;
  #way: Way = "script";
  #refusedAt = 0;
  /** The number of scripts in flight. */
  #scripts = 0;
  /** Settles once the scripts in flight at a refusal have ended, and the function that settles it. */
  #gate: Promise<void> = Promise.resolve();
  #open: (() => void) | undefined;
  /** The last event in flight of each subscription: of those whose script was refused, and of later ones. */
  readonly #refused = new Map<string, Promise<unknown>>();
  readonly #later = new Map<string, Promise<unknown>>();
  /** Channels without subscribers, with the time until which that is assumed. */
  readonly #unsubscribed = new Map<string, number>();

  constructor(commands: Commands) {
    this.#commands = commands;
  }

  get way(): Way {
    return this.#way;
  }

  async publish(subscription: string, message: string): Promise<Published> {
    if (this.#way !== "script" && !this.#isOver()) {
      await this.#gate;
      return runAfterPrevious(this.#later, subscription, () => this.#byCommands(subscription, message));
    }
    this.#scripts += 1;
    try {
      const channels = [ownChannel(subscription), CHANNEL_OF.events];
      const receivers = await this.#commands.script(SCRIPT, [...channels, message]);
      return { receivers: Math.abs(receivers), isTargeted: receivers < 0 };
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#refuse();
      return await runAfterPrevious(this.#refused, subscription, () =>
        this.#byCommands(subscription, message),
      );
    } finally {
      this.#scripts -= 1;
      if (this.#scripts === 0) this.#open?.();
    }
  }

  /** Whether the script may be tried again: the refusal is long ago, and no event is in flight that it could overtake. */
  #isOver(): boolean {
    if (now() - this.#refusedAt < REFUSED_MS || this.#later.size > 0 || this.#scripts > 0) return false;
    this.#way = "script";
    return true;
  }

  #refuse(): void {
    if (this.#way !== "script") return;
    this.#way = "commands";
    this.#refusedAt = now();
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  async #byCommands(subscription: string, message: string): Promise<Published> {
    if (this.#way === "commands" && (this.#unsubscribed.get(subscription) ?? 0) <= now()) {
      try {
        const receivers = await this.#commands.publish(ownChannel(subscription), message);
        if (receivers > 0) return { receivers, isTargeted: true };
        this.#remember(subscription);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        this.#way = "fleet";
      }
    }
    return { receivers: await this.#commands.publish(CHANNEL_OF.events, message), isTargeted: false };
  }

  /** Keeps the order of time, so that expired entries come first. */
  #remember(subscription: string): void {
    for (const [other, until] of this.#unsubscribed) {
      if (until > now()) break;
      this.#unsubscribed.delete(other);
    }
    this.#unsubscribed.delete(subscription);
    this.#unsubscribed.set(subscription, now() + REMEMBERED_MS);
  }
}

const ownChannel = (subscription: string) => `${CHANNEL_OF.events}:${subscription}`;

/** Whether the server refused the command, so that nothing was published. */
function isRefusal(error: unknown): boolean {
  return error instanceof KVError && error.code !== "CLOSED" && !isUnanswered(error);
}

/** Runs a job after the previous one of the same name. */
function runAfterPrevious<T>(
  last: Map<string, Promise<unknown>>,
  name: string,
  job: () => Promise<T>,
): Promise<T> {
  const before = last.get(name);
  const turn = before === undefined ? job() : before.then(job);
  const over = turn.then(
    () => {},
    () => {},
  );
  last.set(name, over);
  over.then(() => {
    if (last.get(name) === over) last.delete(name);
  });
  return turn;
}
