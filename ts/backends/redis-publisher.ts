// Publishes events: on the channel of the subscription if it has a subscriber, else on the channel of the fleet.

import { KVError } from "../errors.js";
import { CHANNEL_OF } from "../fanout/channels.js";
import { now } from "../timers.js";
import { type MarkedChannel, Marks } from "./marks.js";
import { type Outcomes, Turns } from "./turns.js";

/** How long a channel without subscribers is remembered, where it takes a round trip to find out. */
const REMEMBERED_MS = 1_000;
/** The delay before a refused way of publishing is tried again. */
const REFUSED_MS = 60_000;
/** The codes of servers that refuse a command to this user, or have none such. */
const REFUSALS = ["NOPERM", "ERR"];
/** The most events that one script publishes. */
const MOST_EVENTS = 100;

/**
 * Returns a negative count for the subscription's own channel. PUBLISH counts subscribers of patterns, and NUMSUB does not: such a
 * subscriber must not be taken for the process with the stream.
 */
export const SCRIPT = `local own, fleet, message = unpack(ARGV)
if redis.call('PUBSUB', 'NUMSUB', own)[2] > 0 then return -redis.call('PUBLISH', own, message) end
return redis.call('PUBLISH', fleet, message)`;

/**
 * In a cluster the channel of the fleet is at another node. So this one publishes on the subscription's own channel, or returns 0 and
 * publishes nothing. A key leads it to the channel's node. Redis 6.2 has plain channels alone, and earlier versions of this package use them.
 */
export const OWN_SCRIPT = `local function publish(ask, count, command)
  local subscribers = ask('PUBSUB', count, ARGV[1])
  if subscribers.err or subscribers[2] == 0 then return end
  local receivers
  for i = 2, #ARGV do receivers = redis.call(command, ARGV[1], ARGV[i]) end
  return receivers
end
return KEYS[1] and publish(redis.pcall, 'SHARDNUMSUB', 'SPUBLISH') or publish(redis.call, 'NUMSUB', 'PUBLISH') or 0`;

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
  /** `channels` lead it to a node of a cluster. */
  script(script: string, channels: readonly string[], args: readonly string[]): Promise<number>;
  /** Null while the server has said nothing. */
  isCluster(): boolean | null;
}

/** How events are published: by a script; by two PUBLISH if scripts are refused; by one if the channels are refused, or in a cluster. */
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
  /** The number of scripts in flight, but those of turns. */
  #scripts = 0;
  /** Settles once the scripts in flight at a refusal have ended, and the function that settles it. */
  #gate: Promise<void> = Promise.resolve();
  #open: (() => void) | undefined;
  /** The number of events that are to go to the turns once the gate is open: until then the way does not change. */
  #atGate = 0;
  /** Events that take more than one command. */
  readonly #turns: Turns<Published>;
  readonly #marks = new Marks();
  /** Channels without subscribers, with the time until which that is assumed. */
  readonly #unsubscribed = new Map<string, number>();

  /** An event waits behind others of its subscription for `longest` ms at most. */
  constructor(longest: number, commands: Commands) {
    this.#commands = commands;
    const limits = { most: MOST_EVENTS, longest };
    this.#turns = new Turns(limits, (...given) => this.#inSteps(...given));
  }

  get way(): Way {
    return this.#way;
  }

  async publish(subscription: string, message: string): Promise<Published> {
    const isOver = this.#atGate === 0 && now() - this.#refusedAt >= REFUSED_MS;
    if (this.#way !== "script" && isOver) this.#way = "script";
    if (this.#way === "script" && this.#commands.isCluster() === false && !this.#turns.has(subscription))
      return this.#byScript(subscription, message);
    if (this.#way !== "script") {
      this.#atGate += 1;
      await this.#gate;
      this.#atGate -= 1;
    }
    return this.#turns.add(subscription, message);
  }

  /** On one server. */
  async #byScript(subscription: string, message: string): Promise<Published> {
    this.#scripts += 1;
    try {
      const channels = [ownChannel(subscription), CHANNEL_OF.events];
      const receivers = await this.#commands.script(SCRIPT, [], [...channels, message]);
      return { receivers: Math.abs(receivers), isTargeted: receivers < 0 };
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#refuse();
      return await this.#turns.add(subscription, message);
    } finally {
      this.#scripts -= 1;
      if (this.#scripts === 0) this.#open?.();
    }
  }

  #refuse(): void {
    if (this.#way !== "script") return;
    // PUBLISH counts only the subscribers at the channel's new home, while the bus still brings the event to those at the old one.
    this.#way = this.#commands.isCluster() ? "fleet" : "commands";
    this.#refusedAt = now();
    if (this.#scripts === 0) return;
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  /** Publishes events of a subscription, whose steps wait for each other. */
  async #inSteps(subscription: string, messages: readonly string[]): Outcomes<Published> {
    if (this.#way === "script") {
      try {
        const receivers = await this.#onOwn(subscription, messages);
        const targeted = { receivers, isTargeted: true };
        if (receivers > 0) return await Promise.allSettled(messages.map(() => targeted));
        return await this.#toFleet(subscription, messages);
      } catch (error) {
        if (!isRefusal(error)) return messages.map(() => ({ status: "rejected", reason: error }));
        this.#refuse();
      }
    }
    const outcomes: PromiseSettledResult<Published>[] = [];
    for (const message of messages) outcomes.push(await this.#byCommands(subscription, message));
    return outcomes;
  }

  /** Publishes events on the subscription's own channel, by a script. Resolves to 0 if nobody has subscribed it, and nothing was published. */
  async #onOwn(subscription: string, messages: readonly string[]): Promise<number> {
    if (this.#isUnsubscribed(subscription)) return 0;
    const own = ownChannel(subscription);
    // A key that leads to a node wants a right to it: without a cluster none is needed.
    const channels = this.#commands.isCluster() ? [own] : [];
    return this.#toOwn(subscription, (mark) =>
      this.#commands.script(OWN_SCRIPT, channels, [own, ...messages.map((message) => message + mark)]),
    );
  }

  async #byCommands(subscription: string, message: string): Promise<PromiseSettledResult<Published>> {
    if (this.#way === "commands" && !this.#isUnsubscribed(subscription)) {
      try {
        const publish = (mark: string) => this.#commands.publish(ownChannel(subscription), message + mark);
        const receivers = await this.#toOwn(subscription, publish);
        if (receivers > 0) return { status: "fulfilled", value: { receivers, isTargeted: true } };
      } catch (error) {
        if (!isRefusal(error)) return { status: "rejected", reason: error };
        this.#way = "fleet";
      }
    }
    const [outcome] = await this.#toFleet(subscription, [message]);
    return outcome as PromiseSettledResult<Published>;
  }

  /** Publishes on the subscription's own channel, with a mark. */
  async #toOwn(subscription: string, publish: (mark: string) => Promise<number>): Promise<number> {
    try {
      const receivers = await publish(this.#mark(subscription, "own"));
      if (receivers === 0) this.#remember(subscription);
      else this.#marks.published(subscription, "own");
      return receivers;
    } catch (error) {
      if (!isRefusal(error)) this.#marks.unanswered(subscription, "own");
      throw error;
    }
  }

  async #toFleet(subscription: string, messages: readonly string[]): Outcomes<Published> {
    const mark = this.#mark(subscription, "fleet");
    const publish = async (message: string) => ({
      receivers: await this.#commands.publish(CHANNEL_OF.events, message + mark),
      isTargeted: false,
    });
    const outcomes = await Promise.allSettled(messages.map(publish));
    if (outcomes.every(({ status }) => status === "fulfilled")) this.#marks.published(subscription, "fleet");
    else this.#marks.unanswered(subscription, "fleet");
    return outcomes;
  }

  /** On one server all comes by one connection. */
  #mark(subscription: string, channel: MarkedChannel): string {
    return this.#commands.isCluster() === false ? "" : this.#marks.next(subscription, channel);
  }

  #isUnsubscribed(subscription: string): boolean {
    return (this.#unsubscribed.get(subscription) ?? 0) > now();
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

/**
 * Whether the server refuses the command to this user, or has none such. What it refuses for a while only, as with BUSY, it refuses PUBLISH
 * too: another way would then bring events in another order.
 */
function isRefusal(error: unknown): boolean {
  return error instanceof KVError && REFUSALS.includes(error.code);
}
