// The object's side of pub/sub.

import { utf8 } from "../../utf8.js";
import { globOf } from "./glob.js";
import { SOCKETS } from "./layout.js";
import type { DurableObjectStateLike, WebSocketLike } from "./types.js";
import { encodeMessage, LEFT, type Names, REPLACED } from "./wire.js";

/** What outlives the object's sleep. Names that are too long for an attachment are in the storage, under the id. */
interface Attachment extends Partial<Names> {
  id: string;
}

interface Subscription {
  readonly id: string;
  readonly channels: ReadonlySet<string>;
  readonly matchers: readonly ((channel: string) => boolean)[];
}

/** Names in the storage. */
interface Kept extends Names {
  /** When they go unless a socket is open for them, in ms since the epoch. An addition: without it they may go at once. */
  until?: number;
}

/** How long the names of a socket wait until it is open, in ms: a store opens it with its next request. */
const ANNOUNCED_MS = 60_000;

/** Cloudflare takes 2,048 bytes of attachment, and V8 two for each character of some names. */
const MAX_ATTACHED = 900;

/** What Cloudflare takes of tags: so many, of so many bytes. */
const MAX_TAGS = 10;
const MAX_TAG = 256;

/** The sockets of an object. */
export class Sockets {
  readonly #state: DurableObjectStateLike;
  /**
   * Made anew from the attachments after the object has slept. None for a socket that was told to close: it may be among
   * the state's for a while.
   */
  readonly #subscriptions = new WeakMap<WebSocketLike, Subscription | undefined>();

  constructor(state: DurableObjectStateLike) {
    this.#state = state;
  }

  /** Keeps what the socket with an id will be for. Until when, in ms since the epoch. */
  announce(id: string, names: Names): Promise<number> {
    return this.#keep(id, names);
  }

  /** What was announced for an id. */
  async announced(id: string): Promise<Names | undefined> {
    const kept = await this.#state.storage.get<Kept>(SOCKETS + id);
    return kept && { channels: kept.channels, patterns: kept.patterns };
  }

  /** From now on the socket gets the messages; the one with the id `replaced`, if any, gets no more. */
  async accept(socket: WebSocketLike, id: string, names: Names, replaced: string | undefined): Promise<void> {
    const attachment = { id, ...names };
    const isLong = JSON.stringify(attachment).length > MAX_ATTACHED;
    await this.#wake();
    if (isLong) await this.#keep(id, names);
    this.#state.acceptWebSocket(socket, tagsOf(names.channels));
    socket.serializeAttachment?.(isLong ? { id } : attachment);
    this.#subscriptions.set(socket, subscriptionOf(id, names));
    if (replaced !== undefined) this.#closeWith(replaced, REPLACED);
  }

  /** Ends the socket with an id. */
  async leave(id: string): Promise<void> {
    await this.#wake();
    this.#closeWith(id, LEFT);
  }

  /** How many channels and patterns of sockets the message was for. */
  async publish(channel: string, message: string): Promise<number> {
    await this.#wake();
    const data = encodeMessage(channel, message);
    let receivers = 0;
    for (const [socket, { channels, matchers }] of this.#open()) {
      const matches = matchers.filter((isMatch) => isMatch(channel)).length + (channels.has(channel) ? 1 : 0);
      if (matches > 0 && send(socket, data)) receivers += matches;
    }
    return receivers;
  }

  /** A socket has ended, from whichever side. */
  async closed(socket: WebSocketLike): Promise<void> {
    this.#close(socket, LEFT);
    await this.#state.storage.delete(SOCKETS + attachmentOf(socket).id);
  }

  /** Knows what each socket has subscribed. What follows must not wait again before it uses that. */
  async #wake(): Promise<void> {
    for (const socket of this.#state.getWebSockets()) {
      if (this.#subscriptions.has(socket)) continue;
      const { id, channels, patterns = [] } = attachmentOf(socket);
      const names = channels ? { channels, patterns } : await this.announced(id);
      // It may have ended meanwhile.
      if (this.#subscriptions.has(socket)) continue;
      this.#subscriptions.set(socket, subscriptionOf(id, names ?? { channels: [], patterns }));
    }
  }

  *#open(): Generator<[WebSocketLike, Subscription]> {
    for (const socket of this.#state.getWebSockets()) {
      const subscription = this.#subscriptions.get(socket);
      if (subscription !== undefined) yield [socket, subscription];
    }
  }

  #closeWith(id: string, code: number): void {
    for (const [socket, subscription] of this.#open()) {
      if (subscription.id === id) this.#close(socket, code);
    }
  }

  #close(socket: WebSocketLike, code: number): void {
    this.#subscriptions.set(socket, undefined);
    try {
      socket.close(code);
    } catch {
      // It is closed already.
    }
  }

  /** Keeps names in the storage. */
  async #keep(id: string, names: Names): Promise<number> {
    await this.sweep();
    const until = Date.now() + ANNOUNCED_MS;
    const kept: Kept = { ...names, until };
    await this.#state.storage.put(SOCKETS + id, kept);
    return until;
  }

  /** Drops names whose socket was never opened, or has ended without a word. When the next are due; none for never. */
  async sweep(): Promise<number | undefined> {
    await this.#wake();
    const kept = await this.#state.storage.list<Kept>({ prefix: SOCKETS });
    const used = new Set<string>();
    for (const [, subscription] of this.#open()) used.add(SOCKETS + subscription.id);
    let next: number | undefined;
    for (const [name, { until = 0 }] of kept) {
      if (used.has(name)) continue;
      if (until > Date.now()) next = Math.min(until, next ?? until);
      else await this.#state.storage.delete(name);
    }
    return next;
  }
}

/** The channels, as far as the runtime takes them: by these `getWebSockets(channel)` finds a socket. */
function tagsOf(channels: readonly string[]): string[] {
  return [...new Set(channels)].filter((channel) => utf8(channel).length <= MAX_TAG).slice(0, MAX_TAGS);
}

function attachmentOf(socket: WebSocketLike): Attachment {
  return { id: "", ...(socket.deserializeAttachment?.() as Partial<Attachment> | undefined) };
}

function subscriptionOf(id: string, { channels, patterns }: Names): Subscription {
  return { id, channels: new Set(channels), matchers: [...new Set(patterns)].map(globOf) };
}

/** False if the socket has ended, which the object may not have been told yet. */
function send(socket: WebSocketLike, data: string): boolean {
  try {
    socket.send(data);
    return true;
  } catch {
    return false;
  }
}
