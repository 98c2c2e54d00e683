// A Worker that has the stores itself. Each route runs a test's calls on the store of an object.
import {
  createDurableObjectKV,
  CovaraKVDurableObject as DurableObject,
  type DurableObjectKVStore,
  type DurableObjectNamespaceLike,
  type DurableObjectStateLike,
  type KVStoreTransaction,
  type Subscription,
} from "covara-kv";
import { leave, lines } from "./streams.js";

interface Env {
  readonly COVARA_KV: DurableObjectNamespaceLike;
}

/** A call of a method. Infinite numbers are texts, as JSON has none. */
export type Call = readonly [method: string, ...args: unknown[]];

/** The object, with routes that show its state. */
export class CovaraKVDurableObject extends DurableObject {
  /** A new id each time the object comes into memory. */
  readonly #life = crypto.randomUUID();
  readonly #state: DurableObjectStateLike;

  constructor(state: DurableObjectStateLike) {
    super(state);
    this.#state = state;
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    switch (pathname) {
      case "/life":
        return Response.json(this.#life);
      case "/entries":
        return Response.json([...(await this.#state.storage.list()).keys()]);
      case "/tagged":
        return Response.json(this.#state.getWebSockets(searchParams.get("tag") ?? undefined).length);
      default:
        return super.fetch(request);
    }
  }
}

/** Kept as an application keeps them: the first request makes a store, and all later ones use it. */
const stores = new Map<string, DurableObjectKVStore>();

function storeOf(name: string, namespace: DurableObjectNamespaceLike): DurableObjectKVStore {
  const store = stores.get(name) ?? createDurableObjectKV(namespace, { name });
  stores.set(name, store);
  return store;
}

type Route = (kv: DurableObjectKVStore, request: Request) => Promise<Response>;

const routes: Record<string, Route | undefined> = {
  /** Calls methods, one after the other. */
  async "/call"(kv, request) {
    const results: unknown[] = [];
    for (const [method, ...args] of await callsIn(request)) {
      const call = kv[method as "get"] as (...args: unknown[]) => Promise<unknown>;
      results.push(await call.apply(kv, args));
    }
    return answer(results);
  },

  async "/multi"(kv, request) {
    const multi = kv.multi();
    for (const [method, ...args] of await callsIn(request)) {
      (multi[method as "get"] as (...args: unknown[]) => KVStoreTransaction).apply(multi, args);
    }
    return answer(await multi.exec());
  },

  /** A line of JSON for each message, after a line `"live"`. */
  async "/listen"(kv, request) {
    const { channels, patterns } = (await request.json()) as { channels: string[]; patterns: string[] };
    let subscription: Subscription;
    return lines(
      request,
      async (write) => {
        const heard = (message: string, channel: string) => write([channel, message]);
        subscription = await kv.listen(channels, heard, { patterns });
        write("live");
      },
      // Only this closes the socket.
      () => subscription.close(),
    );
  },
};

async function callsIn(request: Request): Promise<Call[]> {
  const calls = (await request.json()) as Call[];
  return calls.map(([method, ...args]) => [method, ...args.map(readArgument)]);
}

function readArgument(arg: unknown): unknown {
  return arg === "Infinity" || arg === "-Infinity" ? Number(arg) : arg;
}

function answer(results: unknown): Response {
  const text = JSON.stringify(results, (_, value) =>
    typeof value === "number" && !Number.isFinite(value) ? `${value}` : value,
  );
  return new Response(text, { headers: { "content-type": "application/json" } });
}

export default {
  async fetch(request: Request, { COVARA_KV }: Env): Promise<Response> {
    const { pathname, hostname } = new URL(request.url);
    if (pathname === "/left") return leave(request);
    const route = routes[pathname];
    // A path without a route goes to the object.
    if (route === undefined) return COVARA_KV.get(COVARA_KV.idFromName(hostname)).fetch(request.url);
    try {
      return await route(storeOf(hostname, COVARA_KV), request);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return Response.json({ code, message }, { status: 500 });
    }
  },
};
