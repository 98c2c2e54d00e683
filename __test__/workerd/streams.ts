// Responses of a Worker that lines.ts reads.

const BEAT_MS = 50;

const encoder = new TextEncoder();

/** The streams whose clients say that they have left. */
const left = new Set<string>();

const idOf = ({ url }: Request) => new URL(url).searchParams.get("stream") ?? "";

/** The route `/left`: the client says that it has left a stream. */
export function leave(request: Request): Response {
  left.add(idOf(request));
  return new Response();
}

/**
 * A response with a line of JSON for each `write` of `start`. `close` runs once the client has left.
 *
 * Workerd learns that when it writes, so there are empty lines. On a busy machine it misses about one client in twenty: it writes on to
 * nobody, neither cancels the stream nor aborts the signal of the request. So the client says it too, and the stream looks for that.
 */
export function lines(
  request: Request,
  start: (write: (line: unknown) => void) => Promise<void>,
  close: () => unknown,
): Response {
  let beat: ReturnType<typeof setInterval>;
  const id = idOf(request);
  const end = () => {
    clearInterval(beat);
    return close();
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => controller.enqueue(encoder.encode(`${text}\n`));
      beat = setInterval(() => {
        if (!left.delete(id)) return write("");
        end();
        controller.close();
      }, BEAT_MS);
      return start((line) => write(JSON.stringify(line)));
    },
    async cancel() {
      await end();
    },
  });
  // A response of another type would be compressed, and its lines held back.
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}
