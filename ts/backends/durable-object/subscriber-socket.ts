// The side of the store in pub/sub: one socket for a set of channels and patterns, replaced when the set changes or the socket is lost.

import type { Messages } from "../../../native.js";
import { KVError } from "../../errors.js";
import type { ConnectionHealth } from "../../events.js";
import type { Kind } from "../../pubsub.js";
import { clearTimeout, setTimeout } from "../../timers.js";
import { globOf } from "./glob.js";
import type { WebSocketLike } from "./types.js";
import {
  checkAnnounced,
  decodeMessage,
  leaveRequest,
  newSocketId,
  REPLACED,
  socketOf,
  subscribeRequests,
  unreachable,
  type WireRequest,
} from "./wire.js";
import { within } from "./within.js";

/** The topics of a socket. */
interface Topics {
  readonly channels: ReadonlySet<string>;
  readonly patterns: ReadonlySet<string>;
}

/** The store's part in a subscriber socket. */
export interface SubscriberOptions {
  /** Sends a request. Rejects with a KVError if the object cannot be reached. */
  request(request: WireRequest): Promise<Response>;
  /** The delay before a reconnect attempt, in ms. */
  reconnectDelay(attempt: number): number;
  onMessages(messages: Messages): void;
  onReconnecting(attempt: number, delay: number, cause: Error): void;
  /** There is a socket again. */
  onReady(): void;
  /** Messages may have been missed between two times, in ms since the epoch. */
  onGap(from: number, to: number): void;
}

/** How long to wait for a socket that was replaced, in ms. */
const TIMEOUT = 1_000;

/** How long a change may take, in ms. One that a request of a Worker has begun never ends if that has ended. */
const CHANGE_TIMEOUT = 5_000;

/** Keeps a socket open for the topics that are subscribed. */
export class SubscriberSocket {
  readonly #options: SubscriberOptions;
  /** Each name with the call that has subscribed it last. */
  readonly #desired = { channels: new Map<string, unknown>(), patterns: new Map<string, unknown>() };
  #socket: Socket | undefined;
  /** The last change of the socket that was begun. */
  #change: Promise<void> = Promise.resolve();
  /** The change after it, which takes all requests up to then together. */
  #next: Promise<void> | undefined;
  /** The number of changes that were given up. */
  #givenUp = 0;
  /** Whether the loss of the socket was told. */
  #isReconnecting = false;
  /** When a lost socket was last alive, in ms since the epoch. None once the gap has been reported. */
  #lostAt: number | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** The reason for the missing socket, and the number of failed attempts. */
  #failed: { attempt: number; cause: Error } | undefined;
  /** When the socket was opened or lost, in ms since the epoch. */
  #since = Date.now();

  constructor(options: SubscriberOptions) {
    this.#options = options;
  }

  /** Subscribes topics. Resolves once they are live. */
  async add(...topics: Topic[]): Promise<void> {
    for (const { kind, name } of topics) this.#desired[kind].set(name, topics);
    try {
      await this.#update();
    } catch (error) {
      for (const { kind, name } of topics) {
        // A later call may have subscribed it too.
        const isMine = this.#desired[kind].get(name) === topics;
        if (isMine && !this.#socket?.topics[kind].has(name)) this.#desired[kind].delete(name);
      }
      throw error;
    }
  }

  async remove({ kind, name }: Topic): Promise<void> {
    this.#desired[kind].delete(name);
    try {
      await this.#update();
    } catch (error) {
      // A lost socket gets no messages: a failure to reopen it for the other topics is not this topic's.
      if (this.#socket !== undefined) throw error;
    }
  }

  /** Closes the socket. One that is still being opened may never be: the wait has a limit. */
  async close(): Promise<void> {
    this.#desired.channels.clear();
    this.#desired.patterns.clear();
    await within(TIMEOUT, this.#update());
  }

  /** The state of the socket. None without topics. */
  health(): ConnectionHealth | undefined {
    const { channels, patterns } = this.#desired;
    if (channels.size + patterns.size === 0) return undefined;
    const lastHeard = this.#socket?.heardAt ?? this.#lostAt;
    return {
      connection: "subscriptions",
      state: this.#socket ? "ready" : this.#failed ? "reconnecting" : "connecting",
      since: this.#since,
      ...(lastHeard !== undefined && { lastHeard }),
      inFlight: 0,
      waiting: 0,
      attempt: 0,
      ...this.#failed,
    };
  }

  /** Makes the socket's topics the desired ones. Each caller waits by a timer of its own request. */
  async #update(): Promise<void> {
    this.#next ??= this.#change
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#change = this.#replace();
        return this.#change;
      });
    const [next, before] = [this.#next, this.#givenUp];
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    await within(CHANGE_TIMEOUT, next.then(over, over));
    if (isOver) return next;
    if (this.#givenUp === before) this.#giveUp();
    const message = `The Durable Object did not change the subscriptions within ${CHANGE_TIMEOUT} ms`;
    throw new KVError("TIMEOUT", message, { reason: "command-timeout" });
  }

  /** Later changes do not wait for the one under way, which may have replaced the socket unseen. */
  #giveUp(): void {
    this.#givenUp += 1;
    this.#next = undefined;
    this.#change = Promise.resolve();
    if (this.#socket !== undefined) this.#socket.mayBeReplaced = true;
  }

  async #replace(): Promise<void> {
    const old = this.#socket;
    const { channels, patterns } = this.#desired;
    const topics = { channels: new Set(channels.keys()), patterns: new Set(patterns.keys()) };
    if (channels.size + patterns.size === 0) return this.#leave(old);
    if (old?.isFor(topics) && !old.mayBeReplaced) return;
    const id = newSocketId();
    const before = this.#givenUp;
    const ws = await this.#open(id, topics, old?.id).catch((error) => {
      if (old !== undefined) old.mayBeReplaced = true;
      throw error;
    });
    if (this.#givenUp !== before) {
      ws.accept?.();
      ws.close();
      throw unreachable("has opened a socket too late");
    }
    const socket: Socket = new Socket(id, topics, this.#options.onMessages, () => void this.#ended(socket));
    if (old === undefined) this.#since = Date.now();
    this.#socket = socket;
    this.#failed = undefined;
    socket.attach(ws);
    await old?.over(TIMEOUT);
    if (old?.isLost || old?.mayBeReplaced) this.#lostAt ??= old.heardAt;
    socket.start();
    // The socket may have been lost meanwhile.
    if (socket === this.#socket) this.#tellLive();
  }

  async #open(id: string, topics: Topics, replaces: string | undefined): Promise<WebSocketLike> {
    const names = { channels: [...topics.channels], patterns: [...topics.patterns] };
    const { announce, subscribe } = subscribeRequests(id, names, replaces);
    if (announce !== undefined) checkAnnounced(await this.#options.request(announce));
    return socketOf(await this.#options.request(subscribe));
  }

  async #leave(socket: Socket | undefined): Promise<void> {
    this.#socket = undefined;
    this.#lostAt = undefined;
    this.#failed = undefined;
    this.#isReconnecting = false;
    clearTimeout(this.#retry);
    if (socket === undefined) return;
    // An object that cannot be reached notices the closed socket.
    await this.#options.request(leaveRequest(socket.id)).catch(() => {});
    socket.close();
  }

  /** Tells that there is a socket, if its absence was told, and the gap, if there was one. */
  #tellLive(): void {
    if (this.#isReconnecting) this.#options.onReady();
    this.#isReconnecting = false;
    const from = this.#lostAt;
    if (from === undefined) return;
    this.#lostAt = undefined;
    clearTimeout(this.#retry);
    this.#options.onGap(from, Date.now());
  }

  /** A socket was closed. If it was replaced, that change must end first. */
  async #ended(socket: Socket): Promise<void> {
    if (!socket.isLost) await this.#change.catch(() => {});
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#lostAt ??= socket.heardAt;
    this.#since = Date.now();
    this.#retryAfter(1, unreachable("has closed the socket"));
  }

  #retryAfter(attempt: number, cause: Error): void {
    const delay = this.#options.reconnectDelay(attempt);
    this.#failed = { attempt, cause };
    this.#isReconnecting = true;
    this.#options.onReconnecting(attempt, delay, cause);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#update().catch((error) => {
        if (this.#lostAt !== undefined) this.#retryAfter(attempt + 1, error as Error);
      });
    }, delay);
  }
}

/** A channel or a pattern. */
export interface Topic {
  readonly kind: keyof Topics;
  readonly name: string;
}

export const topic = (kind: Kind, name: string): Topic => ({
  kind: kind === "pattern" ? "patterns" : "channels",
  name,
});

/** One socket, with a fixed set of names. */
class Socket {
  readonly id: string;
  readonly topics: Topics;
  readonly #matchers: readonly (readonly [pattern: string, isMatch: (channel: string) => boolean])[];
  readonly #heard: (messages: Messages) => void;
  readonly #ended: () => void;
  #ws: WebSocketLike | undefined;
  /** Messages from before `start`: a new socket waits for the last messages of the replaced one. */
  #waiting: unknown[] | undefined = [];
  #isOver = false;
  #isClosed = false;
  #tellOver!: () => void;
  readonly #end = new Promise<void>((resolve) => {
    this.#tellOver = resolve;
  });
  /** Whether it was closed without notice, and may have missed messages. */
  isLost = false;
  /** Whether another one may have taken its place unseen. */
  mayBeReplaced = false;
  /** When it was last known to be alive, in ms since the epoch. */
  heardAt = Date.now();

  constructor(id: string, topics: Topics, heard: (messages: Messages) => void, ended: () => void) {
    this.id = id;
    this.topics = topics;
    this.#matchers = [...topics.patterns].map((pattern) => [pattern, globOf(pattern)]);
    this.#heard = heard;
    this.#ended = ended;
  }

  attach(ws: WebSocketLike): void {
    this.#ws = ws;
    ws.addEventListener?.("message", ({ data }) => {
      this.heardAt = Date.now();
      if (this.#waiting !== undefined) this.#waiting.push(data);
      else this.#deliver(data);
    });
    ws.addEventListener?.("close", (event) => this.#closed((event as { code?: number }).code));
    // Workers tell some failures by this event alone.
    ws.addEventListener?.("error", () => this.#closed(undefined));
    ws.accept?.();
  }

  #closed(code: number | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.isLost = code !== REPLACED;
    this.close();
    this.#ended();
  }

  start(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const data of waiting) this.#deliver(data);
  }

  /** Resolves when it is closed, or after `timeout` ms: then it counts as lost, as its last messages may be missing. */
  async over(timeout: number): Promise<void> {
    await within(timeout, this.#end);
    if (!this.#isOver) this.isLost = true;
    this.close();
  }

  close(): void {
    this.#isOver = true;
    this.#tellOver();
    try {
      this.#ws?.close();
    } catch {
      // The other side has closed it.
    }
  }

  isFor({ channels, patterns }: Topics): boolean {
    return isSame(channels, this.topics.channels) && isSame(patterns, this.topics.patterns);
  }

  #deliver(data: unknown): void {
    const read = decodeMessage(data);
    if (read === undefined) return;
    const { channel, message } = read;
    const messages: Messages = [0];
    if (this.topics.channels.has(channel)) messages.push(null, channel, message);
    for (const [pattern, isMatch] of this.#matchers) {
      if (isMatch(channel)) messages.push(pattern, channel, message);
    }
    this.#heard(messages);
  }
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((name) => b.has(name));
}
