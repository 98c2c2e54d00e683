import { type Call, DurableKVEngine } from "./engine.js";
import { type Names, Sockets } from "./sockets.js";
import type { DurableObjectStateLike, WebSocketLike } from "./types.js";
import { type Batch, decodeCall, encode, JSON_HEADERS, newSocketId, resultOf } from "./wire.js";

/** The class of the Durable Object, for a Worker to export. */
export class CovaraKVDurableObject {
  /** By this the types that `wrangler types` makes know the class of an object. It is not there. */
  declare readonly __DURABLE_OBJECT_BRAND: never;
  readonly #engine: DurableKVEngine;
  readonly #sockets: Sockets;

  /** Made by the Workers runtime. */
  constructor(state: DurableObjectStateLike) {
    this.#sockets = new Sockets(state);
    this.#engine = new DurableKVEngine(state.storage, (channel, message) =>
      this.#sockets.publish(channel, message),
    );
  }

  /** Answers a request of a {@link DurableObjectKVStore}. */
  async fetch(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const query = queryOf(search);
    if (query === undefined) return empty(400);
    const id = query.get("id")?.[0];
    switch (`${request.method} ${pathname}`) {
      case "POST /batch":
        return this.#batch(request);
      case "GET /subscribe":
        return this.#subscribe(request, query, id);
      case "POST /subscribe":
        return this.#announce(request);
      case "DELETE /subscribe":
        return this.#leave(id);
      default:
        return empty(404);
    }
  }

  /** Removes keys that have expired, and what was announced for sockets that never came. */
  async alarm(): Promise<void> {
    await this.#engine.sweep();
    const next = await this.#sockets.sweep();
    if (next !== undefined) await this.#engine.wakeAt(next);
  }

  /** Stores say nothing on their sockets. */
  webSocketMessage(): void {}

  /** A store has closed its socket, or lost it. */
  async webSocketClose(socket: WebSocketLike): Promise<void> {
    await this.#sockets.closed(socket);
  }

  /** A socket has failed. */
  async webSocketError(socket: WebSocketLike): Promise<void> {
    await this.webSocketClose(socket);
  }

  async #batch(request: Request): Promise<Response> {
    const batch = await readBatch(request);
    if (batch === undefined) return empty(400);
    const outcomes = await this.#engine.run(batch.commands.map(decodeCall), batch);
    return new Response(encode({ results: outcomes.map(resultOf) }), { headers: JSON_HEADERS });
  }

  async #subscribe(
    request: Request,
    query: Map<string, string[]>,
    id: string | undefined,
  ): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") {
      return empty(426);
    }
    const names = await this.#namesIn(query, id);
    if (names === undefined) return empty(409);
    const { WebSocketPair } = globalThis as unknown as {
      WebSocketPair: new () => Record<0 | 1, WebSocketLike>;
    };
    const { 0: client, 1: server } = new WebSocketPair();
    await this.#sockets.accept(server, id ?? newSocketId(), names, query.get("replaces")?.[0]);
    return upgraded(client);
  }

  /** What a socket is for: what the query says, or what was announced. */
  async #namesIn(query: Map<string, string[]>, id: string | undefined): Promise<Names | undefined> {
    const [channels, patterns] = [query.get("channels"), query.get("patterns")];
    const isSaid = channels !== undefined || patterns !== undefined || id === undefined;
    return isSaid ? { channels: channels ?? [], patterns: patterns ?? [] } : this.#sockets.announced(id);
  }

  /** Takes what a socket will be for, if that is too long for a query. */
  async #announce(request: Request): Promise<Response> {
    const { id, channels, patterns } = ((await readJson(request)) ?? {}) as Partial<Names & { id: string }>;
    if (typeof id !== "string" || !isTexts(channels) || !isTexts(patterns)) {
      return empty(400);
    }
    await this.#engine.wakeAt(await this.#sockets.announce(id, { channels, patterns }));
    return empty(204);
  }

  /** Ends a socket, whose store hears of it before its next request. */
  async #leave(id: string | undefined): Promise<Response> {
    if (id === undefined) return empty(400);
    await this.#sockets.leave(id);
    return empty(204);
  }
}

/** Node's Response refuses 101, and others do not take a socket: then the answer is a plain object, for tests. */
function upgraded(webSocket: WebSocketLike): Response {
  const init = { status: 101, webSocket };
  try {
    const response = new Response(null, init);
    if ("webSocket" in response) return response;
  } catch {}
  return init as unknown as Response;
}

/** The status says all. */
const empty = (status: number) => new Response(null, { status });

/** None if it is no batch. */
async function readBatch(request: Request): Promise<Batch | undefined> {
  const body = (await readJson(request)) as Partial<Batch> | null | undefined;
  return Array.isArray(body?.commands) && body.commands.every(isCall) ? (body as Batch) : undefined;
}

/** None if it is no JSON. */
function readJson(request: Request): Promise<unknown> {
  return request.json().catch(() => undefined);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isCall(value: unknown): value is Call {
  const { op, args } = (value ?? {}) as Partial<Call>;
  return typeof op === "string" && Array.isArray(args);
}

/** The parameters of a query: lists, separated by commas, each part encoded by itself. None if it is malformed. */
function queryOf(search: string): Map<string, string[]> | undefined {
  try {
    const parameters = search.slice(1).split("&");
    return new Map(
      parameters.map((parameter) => {
        const [name, list = ""] = parameter.split("=") as [string, string?];
        return [name, list === "" ? [] : list.split(",").map(decodeURIComponent)];
      }),
    );
  } catch {
    return undefined;
  }
}
