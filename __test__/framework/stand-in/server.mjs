import { once } from "node:events";
import { createServer } from "node:http";
import { writeClients } from "./oidc.mjs";
import { closeHandler, mutate, openHandler, subscribe, subscriptionState } from "./subscriptions.mjs";
import { enqueue, startTasks, taskState } from "./tasks.mjs";

/** Serves on a free port, and resolves to it. */
export async function serve({ workers = 0 } = {}) {
  void writeClients([{ id: "web", redirect: "http://localhost" }]);
  if (workers > 0) startTasks(workers);
  const server = createServer((request, response) => {
    answer(request, response).catch(({ code, message }) => {
      if (response.headersSent) return response.end();
      response.writeHead(503, { "content-type": "application/json" });
      response.end(JSON.stringify({ code, message }));
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return address.port;
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  switch (`${request.method} ${pathname}`) {
    case "GET /stream":
      return stream(request, response);
    case "POST /subscriptions": {
      const { handlerId, resource } = await bodyOf(request);
      return respond(response, { id: await subscribe(handlerId, resource) });
    }
    case "POST /mutations": {
      const { resource, object } = await bodyOf(request);
      await mutate(resource, object);
      return respond(response, {});
    }
    case "POST /tasks": {
      const { ids, duration } = await bodyOf(request);
      await enqueue(ids, duration);
      return respond(response, {});
    }
    default:
      return respond(response, { ...subscriptionState(), ...taskState() });
  }
}

/** Writes a line for each event. The first line has the handler's id. */
function stream(request, response) {
  const write = (event) => response.write(`data: ${JSON.stringify(event)}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  const handlerId = openHandler(write);
  write({ type: "open", handlerId });
  // If deleting the records fails, the framework sweeps them later.
  request.on("close", () => closeHandler(handlerId).catch(() => {}));
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

function respond(response, value) {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}
