// A Worker whose store is in the Worker too. Routes do what tests want, and answer JSON.
import {
  createDurableObjectKV,
  CovaraKVDurableObject as DurableObject,
  type DurableObjectKVStore,
  type DurableObjectNamespaceLike,
  type DurableObjectStateLike,
  type KVTransaction,
} from "covara-kv";

interface Env {
  readonly COVARA_KV: DurableObjectNamespaceLike;
}

type Calls = readonly (readonly [method: string, ...args: unknown[]])[];

/** The object, with a look into it. */
export class CovaraKVDurableObject extends DurableObject {
  /** Another one when the object has been evicted and is back. */
  readonly #life = crypto.randomUUID();
  readonly #state: DurableObjectStateLike;

  constructor(state: DurableObjectStateLike) {
    super(state);
    this.#state = state;
  }

  override async fetch(request: Request): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case "/life":
        return Response.json(this.#life);
      case "/entries":
        return Response.json([...(await this.#state.storage.list()).keys()]);
      default:
        return super.fetch(request);
    }
  }
}

/** As an application has it: made by the first request, and used by all that follow. */
let store: DurableObjectKVStore | undefined;

const routes: Record<string, (kv: DurableObjectKVStore, request: Request) => unknown> = {
  /** Calls of the store, one after the other. */
  async call(kv, request) {
    const results: unknown[] = [];
    for (const [method, ...args] of (await request.json()) as Calls) {
      const call = kv[method as "get"] as (...args: unknown[]) => Promise<unknown>;
      results.push(await call.apply(kv, args));
    }
    return results;
  },

  async multi(kv, request) {
    const multi = kv.multi();
    for (const [method, ...args] of (await request.json()) as Calls) {
      (multi[method as "get"] as (...args: unknown[]) => KVTransaction).apply(multi, args);
    }
    return multi.exec();
  },
};

export default {
  async fetch(request: Request, { COVARA_KV }: Env): Promise<Response> {
    store ??= createDurableObjectKV(COVARA_KV);
    const { pathname } = new URL(request.url);
    const route = routes[pathname.slice(1)];
    // What no route is for is for the object.
    if (route === undefined) {
      return COVARA_KV.get(COVARA_KV.idFromName("covara-kv")).fetch(request.url);
    }
    return Response.json(await route(store, request));
  },
};
