// The wire between stores and objects: routes, queries, bodies, socket messages and close codes, with their writers and readers.
// docs/durable-object-protocol.md shows an example of each. Objects and stores of other versions use it: fields may be added, but not
// changed. An "addition" is a field, or an op, that older objects and stores do not send.
import { argumentsOf, type Command, commandOf, parameterAt } from "../../commands.js";
import { KVError } from "../../errors.js";
import { score } from "../../results.js";
import type { Codec, Ready } from "../../transaction.js";
import { storeScore } from "./layout.js";
import type { DurableObjectStubLike, WebSocketLike } from "./types.js";

/** The host has no meaning: a stub leads to its object with any URL. */
const ORIGIN = "https://covara-kv";
const BATCH = "/batch";
const SUBSCRIBE = "/subscribe";
const JSON_HEADERS = { "content-type": "application/json" };

/** Names that make the query longer are announced in a body: Cloudflare's limit of a URL is 16 KB. */
const MAX_QUERY = 8_000;

/** The close code of a replaced socket, after its last message. */
export const REPLACED = 4000;
/** The close code of a socket that its store leaves. */
export const LEFT = 1000;

/** The method and the arguments of a command, keys with their prefix. */
export interface WireCall {
  op: string;
  args: readonly unknown[];
}

/** The outcome of a command in an object. */
export type Outcome = { readonly value: unknown; readonly mismatched: boolean } | { readonly error: KVError };

/** The channels and patterns of a socket. */
export interface Names {
  readonly channels: readonly string[];
  readonly patterns: readonly string[];
}

/** How the commands of a batch are run. */
export interface BatchOptions {
  /** Skip the commands after one that fails. */
  stopOnError: boolean;
  /** An addition: refuse keys of another type. */
  strict?: boolean | undefined;
}

/** The body of `POST /batch`. */
interface Batch extends BatchOptions {
  commands: WireCall[];
}

/** The answer to one command of a batch. */
type Result =
  /** `mismatched` is an addition: a key of another type was taken as empty. */
  | { ok: true; value?: unknown; mismatched?: true | undefined }
  /** `code` is an addition. */
  | { ok: false; error: string; code?: string };

/** A request of a store, as arguments of `fetch` of a stub. */
export interface WireRequest {
  readonly url: string;
  readonly init: NonNullable<Parameters<DurableObjectStubLike["fetch"]>[1]>;
}

/** A request as an object parses it. */
export type ReadRequest =
  | { readonly route: "batch"; readonly batch: Batch }
  /** Without names if they were announced under the id. */
  | { readonly route: "subscribe"; readonly id: string; readonly replaces?: string; readonly names?: Names }
  | { readonly route: "announce"; readonly id: string; readonly names: Names }
  | { readonly route: "leave"; readonly id: string }
  | { readonly route: "refused"; readonly status: number };

// Commands, in the store.

/** Converts the arguments of a method, with prefixed keys, and its result. */
export const wireCodec: Codec<unknown[]> = {
  encode(command, args, prefix) {
    const read = argumentsOf(command, args, prefix);
    if (prefix === "") return read;
    return read?.map((arg, i) => (parameterAt(command, i)?.isKey ? `${prefix}:${arg}` : arg));
  },

  decode({ name, returns }, value, prefix) {
    if (value instanceof KVError || returns.ofValue === undefined) return value;
    try {
      return returns.ofValue(value, prefix);
    } catch (cause) {
      throw unreachable(`gave no result of ${name}`, cause);
    }
  },
};

export function batchRequest(calls: readonly Ready<unknown[]>[], strict: boolean): WireRequest {
  const batch: Batch = {
    commands: calls.map(({ command, argv }) => callOf(command, argv)),
    stopOnError: false,
    strict: strict || undefined,
  };
  return { url: ORIGIN + BATCH, init: { method: "POST", headers: JSON_HEADERS, body: encode(batch) } };
}

/** An addition: the suffix of an op with several pairs. Older objects refuse it; without it they would store the first pair of `hset`. */
const PAIRS = "Pairs";

function callOf({ method, parameters, pairs }: Command, args: readonly unknown[]): WireCall {
  return { op: pairs && args.length > parameters.length ? method + PAIRS : method, args };
}

/** The outcomes of a batch of commands. Throws CONNECTION for any other response. */
export async function readBatchResponse(
  response: Response,
  commands: readonly Command[],
): Promise<Outcome[]> {
  if (response.status !== 200) throw unreachable(`answered with status ${response.status}`);
  const { results } = (await response.json().catch((cause) => {
    throw unreachable("broke off its answer", cause);
  })) as { results: Result[] };
  if (!Array.isArray(results) || results.length !== commands.length || results.includes(null as never)) {
    throw unreachable("did not answer each command");
  }
  return results.map((result, i) => outcomeOf(result, (commands[i] as Command).name));
}

function outcomeOf(result: Result, command: string): Outcome {
  if (result.ok) return { value: result.value ?? null, mismatched: result.mismatched ?? false };
  const { error, code } = result;
  // An older object sends only the text, which begins with the code for an error of Redis.
  return { error: new KVError(code ?? /^[A-Z]+(?= )/.exec(error)?.[0] ?? "ERR", error, { command }) };
}

// Commands, in the object.

/** Decodes a call. */
export function decodeCall({ op: given, args: encoded }: WireCall): WireCall {
  const op = given.endsWith(PAIRS) ? given.slice(0, -PAIRS.length) : given;
  const args = [...encoded];
  // A missing argument is null in JSON. Older stores always send options.
  while (args.at(-1) === null) args.pop();
  const command = commandOf(op);
  if (command === undefined) return { op, args };
  const read = (arg: unknown, index: number) => {
    const isInfinite = arg === "inf" || arg === "-inf";
    return isInfinite && parameterAt(command, index)?.isScore ? score(arg) : arg;
  };
  return { op, args: args.map(read) };
}

export function batchResponse(outcomes: readonly Outcome[]): Response {
  return new Response(encode({ results: outcomes.map(resultOf) }), { headers: JSON_HEADERS });
}

function resultOf(outcome: Outcome): Result {
  if ("error" in outcome) return { ok: false, error: outcome.error.message, code: outcome.error.code };
  return { ok: true, value: outcome.value, mismatched: outcome.mismatched || undefined };
}

/** JSON has no infinite numbers. */
function encode(body: unknown): string {
  return JSON.stringify(body, (_, value) => (typeof value === "number" ? storeScore(value) : value));
}

// Sockets, in the store.

/** The requests that open a socket, in place of another one. `announce`, if there is one, must be answered first. */
export function subscribeRequests(
  id: string,
  names: Names,
  replaces: string | undefined,
): { announce?: WireRequest; subscribe: WireRequest } {
  const head = `?id=${id}${replaces === undefined ? "" : `&replaces=${replaces}`}`;
  const open = (query: string): WireRequest => ({
    url: ORIGIN + SUBSCRIBE + query,
    init: { method: "GET", headers: { Upgrade: "websocket" } },
  });
  const query = listOf("channels", names.channels) + listOf("patterns", names.patterns);
  if (query.length <= MAX_QUERY) return { subscribe: open(head + query) };
  const body = JSON.stringify({ id, channels: names.channels, patterns: names.patterns });
  const announce = { url: ORIGIN + SUBSCRIBE, init: { method: "POST", headers: JSON_HEADERS, body } };
  return { announce, subscribe: open(head) };
}

/** An empty list means no name, so a single empty name is written as two. */
function listOf(parameter: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const list = names.map(encodeURIComponent).join(",");
  return `&${parameter}=${list === "" ? "," : list}`;
}

/** Makes the object close a socket, after its last message. */
export function leaveRequest(id: string): WireRequest {
  return { url: `${ORIGIN}${SUBSCRIBE}?id=${id}`, init: { method: "DELETE" } };
}

/** The socket of a response. Throws CONNECTION if there is none. */
export function socketOf(response: Response): WebSocketLike {
  const { webSocket } = response as Response & { webSocket?: WebSocketLike | null };
  if (webSocket == null) throw unreachable(`gave no socket, but status ${response.status}`);
  return webSocket;
}

/** Throws CONNECTION unless the names were accepted. */
export function checkAnnounced({ status }: Response): void {
  if (status !== 204) throw unreachable(`takes no names this long: status ${status}`);
}

/** Undefined for data that is no message. */
export function decodeMessage(data: unknown): { channel: string; message: string } | undefined {
  try {
    const { channel, message } = JSON.parse(String(data));
    return typeof channel === "string" && typeof message === "string" ? { channel, message } : undefined;
  } catch {
    return undefined;
  }
}

// Sockets, in the object.

export function encodeMessage(channel: string, message: string): string {
  return JSON.stringify({ channel, message });
}

/** The Response of Node.js refuses status 101, and others take no socket: then this returns a plain object, for tests. */
export function socketResponse(webSocket: WebSocketLike): Response {
  const init = { status: 101, webSocket };
  try {
    const response = new Response(null, init);
    if ("webSocket" in response) return response;
  } catch {}
  return init as unknown as Response;
}

/** A response without a body. */
export const statusResponse = (status: number) => new Response(null, { status });

/** The id of a socket. By Math.random, which Workers and Node.js 18 share: there is no gain in guessing an id. */
export function newSocketId(): string {
  return Math.random().toString(36).slice(2) + Date.now().toString(36);
}

// Requests, in the object.

export async function readRequest(request: Request): Promise<ReadRequest> {
  const { pathname, search } = new URL(request.url);
  const query = queryOf(search);
  if (query === undefined) return refused(400);
  switch (`${request.method} ${pathname}`) {
    case `POST ${BATCH}`:
      return readBatch(await readJson(request));
    case `GET ${SUBSCRIBE}`:
      return readSubscribe(request, query);
    case `POST ${SUBSCRIBE}`:
      return readAnnounce(await readJson(request));
    case `DELETE ${SUBSCRIBE}`: {
      const [id] = query.get("id") ?? [];
      return id === undefined ? refused(400) : { route: "leave", id };
    }
    default:
      return refused(404);
  }
}

const refused = (status: number): ReadRequest => ({ route: "refused", status });

function readBatch(body: unknown): ReadRequest {
  const { commands } = (body ?? {}) as Partial<Batch>;
  const isBatch = Array.isArray(commands) && commands.every(isCall);
  return isBatch ? { route: "batch", batch: body as Batch } : refused(400);
}

function isCall(value: unknown): value is WireCall {
  const { op, args } = (value ?? {}) as Partial<WireCall>;
  return typeof op === "string" && Array.isArray(args);
}

function readSubscribe(request: Request, query: ReadonlyMap<string, string[]>): ReadRequest {
  if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") return refused(426);
  const [id, replaces] = [query.get("id")?.[0], query.get("replaces")?.[0]];
  const [channels, patterns] = [query.get("channels"), query.get("patterns")];
  // An older store sends no id, and announces nothing.
  const isComplete = channels !== undefined || patterns !== undefined || id === undefined;
  return {
    route: "subscribe",
    id: id ?? newSocketId(),
    ...(replaces !== undefined && { replaces }),
    ...(isComplete && { names: { channels: channels ?? [], patterns: patterns ?? [] } }),
  };
}

function readAnnounce(body: unknown): ReadRequest {
  const { id, channels, patterns } = (body ?? {}) as Partial<Names & { id: string }>;
  if (typeof id !== "string" || !isTexts(channels) || !isTexts(patterns)) return refused(400);
  return { route: "announce", id, names: { channels, patterns } };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** Undefined if it is no JSON. */
function readJson(request: Request): Promise<unknown> {
  return request.json().catch(() => undefined);
}

/** The parameters of a query: lists, separated by commas, with each part URL-encoded. Undefined if it is malformed. */
function queryOf(search: string): ReadonlyMap<string, string[]> | undefined {
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

// Errors of both sides.

/** The error for a failure between a store and its object. */
export function unreachable(what: string, cause?: unknown): KVError {
  return new KVError("CONNECTION", `The Durable Object ${what}`, { reason: "durable-object", cause });
}

/** The error of `eval`, in the store and in the object. */
export function noScripts(): KVError {
  const message = "eval: a Durable Object runs no scripts: use multi(), setnx() or getdel()";
  return new KVError("UNSUPPORTED", message, { reason: "scripts", command: "EVAL" });
}
