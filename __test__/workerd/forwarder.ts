// A Worker that passes each request on to the object that its header `object` names.
import { CovaraKVDurableObject } from "covara-kv";

export { CovaraKVDurableObject };

interface Env {
  readonly COVARA_KV: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Promise<Response & { webSocket: Socket | null }> };
  };
}

interface Socket {
  accept(): void;
  send(data: unknown): void;
  close(code?: number, reason?: string): void;
  addEventListener(
    type: "message" | "close",
    handler: (event: { data: unknown; code: number; reason: string }) => void,
  ): void;
}

declare const WebSocketPair: new () => [Socket, Socket];

/**
 * A socket that relays the object's. With the object's own socket, workerd ends the TCP connection only when the object is evicted, 10 s
 * later, and only then does Node.js tell of the close.
 */
function relayed(socket: Socket): Socket {
  const { 0: outside, 1: inside } = new WebSocketPair();
  for (const [from, to] of [
    [socket, inside],
    [inside, socket],
  ] as const) {
    from.accept();
    from.addEventListener("message", ({ data }) => to.send(data));
    from.addEventListener("close", ({ code, reason }) => {
      // 1005 (no code) and 1006 (lost connection) may be read, but not sent.
      if (code === 1005 || code === 1006) to.close();
      else to.close(code, reason);
    });
  }
  return outside;
}

export default {
  async fetch(request: Request, { COVARA_KV }: Env): Promise<Response> {
    const id = COVARA_KV.idFromName(request.headers.get("object") ?? "");
    const response = await COVARA_KV.get(id).fetch(request);
    if (response.webSocket === null) return response;
    return new Response(null, { status: 101, webSocket: relayed(response.webSocket) } as ResponseInit);
  },
};
