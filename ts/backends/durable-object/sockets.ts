// The side of the object in pub/sub.

import { utf8 } from "../../utf8.js";
import { globOf } from "./glob.js";
import { SOCKETS } from "./layout.js";
import type { DurableObjectStateLike, WebSocketLike } from "./types.js";
import { encodeMessage, LEFT, type Names, REPLACED } from "./wire.js";

/** State that survives hibernation. Names that are too long for an attachment are in the storage, under the id. */
interface Attachment extends Partial<Names> {
  id: string;
}

interface SocketSubscription {
  readonly id: string;
  readonly channels: ReadonlySet<string>;
  readonly matchers: readonly ((channel: string) => boolean)[];
}

/** Names in the storage. */
interface Kept extends Names {
  /** When they expire without an open socket, in ms since the epoch. An addition: without it they may be dropped at once. */
  until?: number;
}

/** How long announced names wait for their socket, in ms: a store opens it with its next request. */
const ANNOUNCED_MS = 60_000;

/** The longest names in an attachment: Cloudflare allows 2,048 bytes, and V8 needs two for each character of some names. */
const MAX_ATTACHED = 900;

/** Cloudflare's limits for tags: their number, and their size in bytes. */
const MAX_TAGS = 10;
const MAX_TAG = 256;

/** The sockets of an object. */
export class Sockets {
  readonly #state: DurableObjectStateLike;
  /**
   * The subscription of each socket, rebuilt from the attachments after hibernation. Undefined for a socket that was told to close: the
   * state may list it for a while.
   */
  readonly #subscriptions = new WeakMap<WebSocketLike, SocketSubscription | undefined>();

  constructor(state: DurableObjectStateLike) {
    this.#state = state;
  }

  /** Stores the names of a socket that will be opened. Resolves to their expiry, in ms since the epoch. */
  announce(id: string, names: Names): Promise<number> {
    return this.#keep(id, names);
  }

  /** The names that were announced for an id. */
  async announced(id: string): Promise<Names | undefined> {
    const kept = await this.#state.storage.get<Kept>(SOCKETS + id);
    return kept && { channels: kept.channels, patterns: kept.patterns };
  }

  /** Adds a socket, which gets messages from now on, and ends the socket with the id `replaced`. */
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

  /** Sends a message. Resolves to the number of channels and patterns that matched it. */
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

  /** A socket was closed, by either side. */
  async closed(socket: WebSocketLike): Promise<void> {
    this.#close(socket, LEFT);
    await this.#state.storage.delete(SOCKETS + attachmentOf(socket).id);
  }

  /** Rebuilds the subscriptions after hibernation. Callers must use them before their next await: sockets may come and go there. */
  async #wake(): Promise<void> {
    for (const socket of this.#state.getWebSockets()) {
      if (this.#subscriptions.has(socket)) continue;
      const { id, channels, patterns = [] } = attachmentOf(socket);
      const names = channels ? { channels, patterns } : await this.announced(id);
      // The socket may have been closed meanwhile.
      if (this.#subscriptions.has(socket)) continue;
      this.#subscriptions.set(socket, subscriptionOf(id, names ?? { channels: [], patterns }));
    }
  }

  *#open(): Generator<[WebSocketLike, SocketSubscription]> {
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

  /** Writes names to the storage. */
  async #keep(id: string, names: Names): Promise<number> {
    await this.sweep();
    const until = Date.now() + ANNOUNCED_MS;
    const kept: Kept = { ...names, until };
    await this.#state.storage.put(SOCKETS + id, kept);
    return until;
  }

  /** Drops names without a socket. Resolves to the time of the next expiry. Undefined if there is none. */
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

/** The channels that the runtime accepts as tags, by which `getWebSockets(channel)` finds a socket. */
function tagsOf(channels: readonly string[]): string[] {
  return [...new Set(channels)].filter((channel) => utf8(channel).length <= MAX_TAG).slice(0, MAX_TAGS);
}

function attachmentOf(socket: WebSocketLike): Attachment {
  return { id: "", ...(socket.deserializeAttachment?.() as Partial<Attachment> | undefined) };
}

function subscriptionOf(id: string, { channels, patterns }: Names): SocketSubscription {
  return { id, channels: new Set(channels), matchers: [...new Set(patterns)].map(globOf) };
}

/** False if the socket is closed, of which the object may not know yet. */
function send(socket: WebSocketLike, data: string): boolean {
  try {
    socket.send(data);
    return true;
  } catch {
    return false;
  }
}
