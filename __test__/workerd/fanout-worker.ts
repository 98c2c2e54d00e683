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

export { CovaraKVDurableObject } from "covara-kv";

setGlobalKV(createDurableObjectKV(env.COVARA_KV));
void initializeEventSubscription();

const encoder = new TextEncoder();

/**
 * A response with a line of JSON for each `write` of `open`, until the client leaves. Empty lines show that a client has left: workerd
 * notices only when it writes.
 */
function lines(open: (write: (line: unknown) => void) => Promise<void>, close: () => void): Response {
  let beat: ReturnType<typeof setInterval>;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => controller.enqueue(encoder.encode(`${text}\n`));
      beat = setInterval(() => write(""), 50);
      return open((line) => write(JSON.stringify(line)));
    },
    cancel() {
      clearInterval(beat);
      close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

const routes: Record<string, (body: never) => Response | Promise<Response>> = {
  /** The events of the subscriptions, after a line `"live"`. */
  "/stream": ({ id, subscriptions }: { id: string; subscriptions: string[] }) =>
    lines(
      async (write) => {
        registerHandler(id, (event, subscription) => write([subscription, event]));
        await initializeEventSubscription();
        for (const subscription of subscriptions) trackSubscription(id, subscription);
        write("live");
      },
      () => unregisterHandler(id),
    ),

  "/watch"(resource: string) {
    let end: () => void;
    return lines(
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
    return (await routes[pathname]?.((await request.json()) as never)) ?? new Response(null, { status: 404 });
  },
};
