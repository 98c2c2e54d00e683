// A Worker with open streams, set up as docs/workers.md says.
import { env } from "cloudflare:workers";
import {
  createDurableObjectKV,
  type FanoutEvent,
  getFanoutStats,
  initializeEventSubscription,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { leave, lines } from "./streams.js";

export { CovaraKVDurableObject } from "covara-kv";

setGlobalKV(createDurableObjectKV(env.COVARA_KV));
void initializeEventSubscription();

const routes: Record<string, (body: never, request: Request) => Response | Promise<Response>> = {
  /** The events of the subscriptions, after a line `"live"`. */
  "/stream": ({ id, subscriptions }: { id: string; subscriptions: string[] }, request) =>
    lines(
      request,
      async (write) => {
        registerHandler(id, (event, subscription) => write([subscription, event]));
        await initializeEventSubscription();
        for (const subscription of subscriptions) trackSubscription(id, subscription);
        write("live");
      },
      () => unregisterHandler(id),
    ),

  "/watch"(resource: string, request) {
    let end: () => void;
    return lines(
      request,
      async (write) => {
        end = registerAggregateWatcher(resource, (...rows) => write(rows));
        await initializeEventSubscription();
        write("live");
      },
      () => end(),
    );
  },

  "/publish": async (event: FanoutEvent) => Response.json(await publishEvent(event)),

  async "/notify"(resource: string) {
    await notifyAggregateWatchers(resource, [{ id: 1 }]);
    return Response.json(null);
  },

  "/unregister"(id: string) {
    unregisterHandler(id);
    return Response.json(null);
  },

  "/stats": () => Response.json(getFanoutStats()),
};

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/left") return leave(request);
    const body = (await request.json()) as never;
    return (await routes[pathname]?.(body, request)) ?? new Response(null, { status: 404 });
  },
};
