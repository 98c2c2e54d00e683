// A Worker that passes requests to the object that the header `object` names, as they come.
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
 * A socket that says what the object's does. With that one itself workerd ends the TCP connection, and only then does Node
 * tell that it was closed, when the object is evicted: 10 s later.
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
      // What a close without a code, or a lost connection, reads as is no code to close with.
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
