// Where an event is published: the channel of its subscription, where the process with its stream may be, else the fleet's.

import { KVError } from "../errors.js";
import { CHANNEL_OF } from "../fanout/channels.js";
import { now } from "../timers.js";
import { isUnanswered } from "../unawaited.js";

/** How long it is remembered that nobody had subscribed a channel, where that takes a round trip to learn. */
const REMEMBERED_MS = 1_000;
/** How long until what the server has refused is tried again. */
const REFUSED_MS = 60_000;

/**
 * Negative if it went to the subscription's own channel. Who listens to a pattern is counted by PUBLISH, and not by NUMSUB: it must not be
 * taken for the process with the stream.
 */
export const SCRIPT = `local own, fleet, message = unpack(ARGV)
if redis.call('PUBSUB', 'NUMSUB', own)[2] > 0 then return -redis.call('PUBLISH', own, message) end
return redis.call('PUBLISH', fleet, message)`;

/** An event as the framework writes it, up to the id of its subscription. What is written otherwise goes to the fleet's channel. */
const EVENT = /^\{"type":"\w+","subscriptionId":"([^"\\]+)",/;

/** Where an event went, and how many got it. */
export interface Published {
  readonly receivers: number;
  /** It went to the subscription's own channel. */
  readonly isTargeted: boolean;
}

/** What the store does for it. */
export interface Commands {
  publish(channel: string, message: string): Promise<number>;
  script(script: string, args: readonly string[]): Promise<number>;
}

/** How events leave: by the script; by two PUBLISH where that is refused; by one where the channels are. */
export type Way = "script" | "commands" | "fleet";

/** Whose an event is; nothing if that cannot be told at a glance. */
export function subscriptionOf(message: unknown): string | undefined {
  return typeof message === "string" ? EVENT.exec(message)?.[1] : undefined;
}

/** Publishes the events of a store, each subscription's in the order of the calls, whichever way they leave. */
export class Publisher {
  readonly #commands: Commands;
  #way: Way = "script";
  #refusedAt = 0;
  /** How many scripts are under way. */
  #scripts = 0;
  /** Settles once those that were under way when one was refused are done, and what to call then. */
  #gate: Promise<void> = Promise.resolve();
  #open: (() => void) | undefined;
  /** The last one under way of each subscription: of those whose script was refused, and of those that came later. */
  readonly #refused = new Map<string, Promise<unknown>>();
  readonly #later = new Map<string, Promise<unknown>>();
  /** Until when nobody is taken to have subscribed a channel. */
  readonly #nobody = new Map<string, number>();

  constructor(commands: Commands) {
    this.#commands = commands;
  }

  get way(): Way {
    return this.#way;
  }

  async publish(subscription: string, message: string): Promise<Published> {
    if (this.#way !== "script" && !this.#isOver()) {
      await this.#gate;
      return inTurn(this.#later, subscription, () => this.#byCommands(subscription, message));
    }
    this.#scripts += 1;
    try {
      const channels = [ownChannel(subscription), CHANNEL_OF.events];
      const receivers = await this.#commands.script(SCRIPT, [...channels, message]);
      return { receivers: Math.abs(receivers), isTargeted: receivers < 0 };
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#refuse();
      return await inTurn(this.#refused, subscription, () => this.#byCommands(subscription, message));
    } finally {
      this.#scripts -= 1;
      if (this.#scripts === 0) this.#open?.();
    }
  }

  /** Whether a refusal is long ago, and nothing is under way that the script could overtake. */
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
    if (this.#way === "commands" && (this.#nobody.get(subscription) ?? 0) <= now()) {
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

  /** In the order of their time, so that those that are over come first. */
  #remember(subscription: string): void {
    for (const [other, until] of this.#nobody) {
      if (until > now()) break;
      this.#nobody.delete(other);
    }
    this.#nobody.delete(subscription);
    this.#nobody.set(subscription, now() + REMEMBERED_MS);
  }
}

const ownChannel = (subscription: string) => `${CHANNEL_OF.events}:${subscription}`;

/** Whether the server has answered that it will not, so that nothing was published. */
function isRefusal(error: unknown): boolean {
  return error instanceof KVError && error.code !== "CLOSED" && !isUnanswered(error);
}

/** Does a job behind the one before of the same name. */
function inTurn<T>(last: Map<string, Promise<unknown>>, name: string, job: () => Promise<T>): Promise<T> {
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
