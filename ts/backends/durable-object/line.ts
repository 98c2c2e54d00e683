// A store's side of pub/sub.
import type { ConnectionHealth } from "../../events.js";
import type { Messages } from "../../native.js";
import type { Kind } from "../../pubsub.js";
import { clearTimeout, setTimeout } from "../../timers.js";
import { globOf } from "./glob.js";
import { REPLACED } from "./sockets.js";
import type { DurableObjectStubLike, WebSocketLike } from "./types.js";
import { JSON_HEADERS, newSocketId, unreachable } from "./wire.js";

/** What a line listens to. */
export interface Names {
  readonly channels: ReadonlySet<string>;
  readonly patterns: ReadonlySet<string>;
}

export type Init = Parameters<DurableObjectStubLike["fetch"]>[1];

/** What a line needs. */
export interface LineOptions {
  /** Asks the object for something that has to do with sockets. Rejects with a KVError if it cannot be reached. */
  request(query: string, init: Init): Promise<Response>;
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
  readonly #wanted = { channels: new Set<string>(), patterns: new Set<string>() };
  #socket: Socket | undefined;
  /** Settles when the change that was begun last is over. */
  #change: Promise<void> = Promise.resolve();
  /** The change that follows it, for all that is asked meanwhile. */
  #next: Promise<void> | undefined;
  /** When the last message came before a socket was lost, in ms since the epoch; none once that has been told. */
  #lostAt: number | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** Why there is no socket, and how many attempts have failed since. */
  #failed: { attempt: number; cause: Error } | undefined;
  /** Since when there is a socket, or none, in ms since the epoch. */
  #since = Date.now();

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Resolves once it is live. */
  async add(...topics: Topic[]): Promise<void> {
    for (const { kind, name } of topics) this.#wanted[kind].add(name);
    try {
      await this.#update();
    } catch (error) {
      for (const { kind, name } of topics) {
        if (!this.#socket?.names[kind].has(name)) this.#wanted[kind].delete(name);
      }
      throw error;
    }
  }

  async remove({ kind, name }: Topic): Promise<void> {
    this.#wanted[kind].delete(name);
    try {
      await this.#update();
    } catch (error) {
      // A lost socket hears nothing: that it could not be opened again for the others is no matter of this topic.
      if (this.#socket !== undefined) throw error;
    }
  }

  /** Ends it. What is still being opened is closed once it is, but may never be: it is not waited for any longer. */
  async close(): Promise<void> {
    this.#wanted.channels.clear();
    this.#wanted.patterns.clear();
    await within(PATIENCE, this.#update());
  }

  /** How its socket does; nothing of a line that nothing is subscribed on. */
  health(): ConnectionHealth | undefined {
    const { channels, patterns } = this.#wanted;
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
    const { channels, patterns } = this.#wanted;
    const names = { channels: new Set(channels), patterns: new Set(patterns) };
    if (channels.size + patterns.size === 0) return this.#hangUp(old);
    if (old?.isFor(names)) return;
    const id = newSocketId();
    const replaces = old === undefined ? "" : `&replaces=${old.id}`;
    const ws = await this.#open(`?id=${id}${replaces}${await this.#queryOf(id, names)}`);
    const socket: Socket = new Socket(id, names, this.#options.heard, () => void this.#ended(socket));
    if (old === undefined) this.#since = Date.now();
    this.#socket = socket;
    this.#failed = undefined;
    socket.attach(ws);
    await old?.over(PATIENCE);
    if (old?.isLost) this.#lostAt ??= old.heardAt;
    socket.start();
    // It may have been lost meanwhile.
    if (socket === this.#socket) this.#tellGap();
  }

  async #open(query: string): Promise<WebSocketLike> {
    const init = { method: "GET", headers: { Upgrade: "websocket" } };
    const response = await this.#options.request(query, init);
    const { webSocket } = response as Response & { webSocket?: WebSocketLike | null };
    if (webSocket == null) throw unreachable(`gave no socket, but status ${response.status}`);
    return webSocket;
  }

  /** Says what a socket is for; what a query has no room for is announced before. */
  async #queryOf(id: string, { channels, patterns }: Names): Promise<string> {
    const query = listOf("channels", channels) + listOf("patterns", patterns);
    if (query.length <= MAX_QUERY) return query;
    const body = JSON.stringify({ id, channels: [...channels], patterns: [...patterns] });
    const { status } = await this.#options.request("", { method: "POST", headers: JSON_HEADERS, body });
    if (status !== 204) throw unreachable(`takes no names this long: status ${status}`);
    return "";
  }

  async #hangUp(socket: Socket | undefined): Promise<void> {
    this.#socket = undefined;
    this.#lostAt = undefined;
    this.#failed = undefined;
    clearTimeout(this.#retry);
    if (socket === undefined) return;
    // If the object cannot be told, it will notice.
    await this.#options.request(`?id=${socket.id}`, { method: "DELETE" }).catch(() => {});
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
    this.#since = Date.now();
    this.#retryAfter(1, unreachable("has closed the socket"));
  }

  #retryAfter(attempt: number, cause: Error): void {
    const delay = this.#options.reconnectDelay(attempt);
    this.#failed = { attempt, cause };
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
  readonly kind: keyof Names;
  readonly name: string;
}

export const topic = (kind: Kind, name: string): Topic => ({
  kind: kind === "pattern" ? "patterns" : "channels",
  name,
});

/** One socket, which hears the same from its beginning to its end. */
class Socket {
  readonly id: string;
  readonly names: Names;
  readonly #matchers: readonly (readonly [pattern: string, isMatch: (channel: string) => boolean])[];
  readonly #heard: (messages: Messages) => void;
  readonly #ended: () => void;
  #ws: WebSocketLike | undefined;
  /** What has come before `start`: a socket in place of another waits for its last messages. */
  #waiting: unknown[] | undefined = [];
  #isOver = false;
  #tellOver!: () => void;
  readonly #end = new Promise<void>((resolve) => {
    this.#tellOver = resolve;
  });
  /** It has ended, and may have missed messages. */
  isLost = false;
  /** When it last had to be alive, in ms since the epoch. */
  heardAt = Date.now();

  constructor(id: string, names: Names, heard: (messages: Messages) => void, ended: () => void) {
    this.id = id;
    this.names = names;
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
    await within(patience, this.#end);
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

  isFor({ channels, patterns }: Names): boolean {
    return isSame(channels, this.names.channels) && isSame(patterns, this.names.patterns);
  }

  #deliver(data: unknown): void {
    const read = readMessage(data);
    if (read === undefined) return;
    const { channel, message } = read;
    const messages: Messages = [0];
    if (this.names.channels.has(channel)) messages.push(null, channel, message);
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
