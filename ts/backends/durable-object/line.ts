// A store's side of pub/sub.
import type { Messages } from "../../native.js";
import { globOf } from "./glob.js";
import { REPLACED } from "./sockets.js";
import type { WebSocketLike } from "./types.js";
import { newSocketId, unreachable } from "./wire.js";

/** What a line listens to. */
export interface Names {
  readonly channels: ReadonlySet<string>;
  readonly patterns: ReadonlySet<string>;
}

/** What a line needs. */
export interface LineOptions {
  /** Opens a socket: the query says for what. Rejects with a KVError. */
  open(query: string): Promise<WebSocketLike>;
  /** Tells the object what the next socket is for, where a query has no room for it. Rejects with a KVError. */
  announce(body: string): Promise<unknown>;
  /** Ends the socket that the query names. */
  leave(query: string): Promise<unknown>;
  reconnectDelay(attempt: number): number;
  heard(messages: Messages): void;
  reconnecting(attempt: number, delay: number, cause: Error): void;
  /** Messages may have been missed between two times, in ms since the epoch. */
  missed(from: number, to: number): void;
}

/** A socket that is being opened, or has been replaced, is not waited for any longer than this, in ms. */
const PATIENCE = 1_000;

/** What is between a store and its object may take no longer URL than 16 KB. */
const MAX_QUERY = 8_000;

/** Hears a number of channels and patterns over one socket, whatever happens to it. */
export class Line {
  readonly #options: LineOptions;
  readonly #channels = new Set<string>();
  readonly #patterns = new Set<string>();
  #socket: Socket | undefined;
  /** Settles when the change that was begun last is over. */
  #change: Promise<void> = Promise.resolve();
  /** The change that follows it, for all that is asked meanwhile. */
  #next: Promise<void> | undefined;
  /** When the last message came before a socket was lost, in ms since the epoch; none once that has been told. */
  #lostAt: number | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Resolves once it is live. */
  async add(...topics: Topic[]): Promise<void> {
    for (const topic of topics) this.#set(topic).add(topic.name);
    try {
      await this.#update();
    } catch (error) {
      for (const topic of topics) if (!this.#socket?.hears(topic)) this.#set(topic).delete(topic.name);
      throw error;
    }
  }

  async remove(topic: Topic): Promise<void> {
    this.#set(topic).delete(topic.name);
    try {
      await this.#update();
    } catch (error) {
      // A lost socket hears nothing: that it could not be opened again for the others is no matter of this topic.
      if (this.#socket !== undefined) throw error;
    }
  }

  /** Ends it. What is still being opened is closed once it is, but may never be: it is not waited for any longer. */
  async close(): Promise<void> {
    this.#channels.clear();
    this.#patterns.clear();
    await within(PATIENCE, this.#update());
  }

  #set({ kind }: Topic): Set<string> {
    return kind === "channel" ? this.#channels : this.#patterns;
  }

  /** Has the socket hear what is wanted now. */
  #update(): Promise<void> {
    this.#next ??= this.#change
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#change = this.#replace();
        return this.#change;
      });
    return this.#next;
  }

  async #replace(): Promise<void> {
    const old = this.#socket;
    const names = { channels: new Set(this.#channels), patterns: new Set(this.#patterns) };
    if (names.channels.size + names.patterns.size === 0) return this.#hangUp(old);
    if (old?.isFor(names)) return;
    const id = newSocketId();
    const replaces = old === undefined ? "" : `&replaces=${old.id}`;
    const ws = await this.#options.open(`?id=${id}${replaces}${await this.#queryOf(id, names)}`);
    const socket: Socket = new Socket(id, names, this.#options.heard, () => void this.#ended(socket));
    this.#socket = socket;
    socket.attach(ws);
    await old?.over(PATIENCE);
    if (old?.isLost) this.#lostAt ??= old.heardAt;
    socket.start();
    // It may have been lost meanwhile.
    if (socket === this.#socket) this.#tellGap();
  }

  /** Says what a socket is for, unless that has been announced. */
  async #queryOf(id: string, { channels, patterns }: Names): Promise<string> {
    const query = listOf("channels", channels) + listOf("patterns", patterns);
    if (query.length <= MAX_QUERY) return query;
    await this.#options.announce(JSON.stringify({ id, channels: [...channels], patterns: [...patterns] }));
    return "";
  }

  async #hangUp(socket: Socket | undefined): Promise<void> {
    this.#socket = undefined;
    this.#lostAt = undefined;
    clearTimeout(this.#retry);
    if (socket === undefined) return;
    // If the object cannot be told, it will notice.
    await this.#options.leave(`?id=${socket.id}`).catch(() => {});
    socket.close();
  }

  #tellGap(): void {
    const from = this.#lostAt;
    if (from === undefined) return;
    this.#lostAt = undefined;
    clearTimeout(this.#retry);
    this.#options.missed(from, Date.now());
  }

  /** A socket has ended. One that was replaced has been expected to, if what replaces it has come. */
  async #ended(socket: Socket): Promise<void> {
    if (!socket.isLost) await this.#change.catch(() => {});
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#lostAt ??= socket.heardAt;
    this.#retryAfter(1, unreachable("has closed the socket"));
  }

  #retryAfter(attempt: number, cause: Error): void {
    const delay = this.#options.reconnectDelay(attempt);
    this.#options.reconnecting(attempt, delay, cause);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#update().catch((error) => {
        if (this.#lostAt !== undefined) this.#retryAfter(attempt + 1, error as Error);
      });
    }, delay);
  }
}

/** Settles as `work` does, or after so many ms. */
export async function within(patience: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patience);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** A channel or a pattern. */
export interface Topic {
  readonly kind: "channel" | "pattern";
  readonly name: string;
}

/** One socket, which hears the same from its beginning to its end. */
class Socket {
  readonly id: string;
  readonly #names: Names;
  readonly #matchers: readonly (readonly [pattern: string, isMatch: (channel: string) => boolean])[];
  readonly #heard: (messages: Messages) => void;
  readonly #ended: () => void;
  #ws: WebSocketLike | undefined;
  /** What has come before `start`: a socket in place of another waits for its last messages. */
  #waiting: unknown[] | undefined = [];
  #isOver = false;
  #tellOver: () => void = () => {};
  /** It has ended, and may have missed messages. */
  isLost = false;
  /** When it last had to be alive, in ms since the epoch. */
  heardAt = Date.now();

  constructor(id: string, names: Names, heard: (messages: Messages) => void, ended: () => void) {
    this.id = id;
    this.#names = names;
    this.#matchers = [...names.patterns].map((pattern) => [pattern, globOf(pattern)]);
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
    ws.addEventListener?.("close", (event) => {
      this.isLost = (event as { code?: number }).code !== REPLACED;
      this.close();
      this.#ended();
    });
    ws.accept?.();
  }

  start(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const data of waiting) this.#deliver(data);
  }

  /** Resolves when it has ended, or after so many ms; then it is lost, as it may not have heard its last messages. */
  async over(patience: number): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#tellOver = resolve;
    });
    if (!this.#isOver) await within(patience, ended);
    if (!this.#isOver) this.isLost = true;
    this.close();
  }

  close(): void {
    this.#isOver = true;
    this.#tellOver();
    try {
      this.#ws?.close();
    } catch {
      // It has been closed by the other side.
    }
  }

  hears({ kind, name }: Topic): boolean {
    return (kind === "channel" ? this.#names.channels : this.#names.patterns).has(name);
  }

  isFor({ channels, patterns }: Names): boolean {
    return isSame(channels, this.#names.channels) && isSame(patterns, this.#names.patterns);
  }

  #deliver(data: unknown): void {
    const read = readMessage(data);
    if (read === undefined) return;
    const { channel, message } = read;
    const messages: Messages = [0];
    if (this.#names.channels.has(channel)) messages.push(null, channel, message);
    for (const [pattern, isMatch] of this.#matchers) {
      if (isMatch(channel)) messages.push(pattern, channel, message);
    }
    this.#heard(messages);
  }
}

/** None if it is nothing that an object says. */
function readMessage(data: unknown): { channel: string; message: string } | undefined {
  try {
    const { channel, message } = JSON.parse(String(data));
    return typeof channel === "string" && typeof message === "string" ? { channel, message } : undefined;
  } catch {
    return undefined;
  }
}

/** Nothing would be no name: an empty one alone is given twice. */
function listOf(parameter: string, names: ReadonlySet<string>): string {
  if (names.size === 0) return "";
  const list = [...names].map(encodeURIComponent).join(",");
  return `&${parameter}=${list === "" ? "," : list}`;
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((name) => b.has(name));
}
