// Reads responses that are lines of JSON, while they arrive. streams.ts is their side in a Worker.
import { randomUUID } from "node:crypto";

export interface Lines {
  /** The lines before `"live"`. */
  readonly first: readonly unknown[];
  /** The lines after it. */
  readonly got: readonly unknown[];
  /** Ends the response, as a client that goes away. */
  leave(): Promise<void>;
}

/** Asks a Worker for a path, by POST. */
type Ask = (path: string, body: string) => Promise<Response>;

/** Resolves once the response has the line `"live"`. */
export async function openLines(ask: Ask, path: string, body: unknown): Promise<Lines> {
  const query = `?stream=${randomUUID()}`;
  const response = await ask(path + query, JSON.stringify(body));
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const lines = linesOf(reader);
  const first: unknown[] = [];
  for (let line = await lines.next(); line.value !== '"live"'; line = await lines.next()) {
    if (line.done) throw new Error("the response has ended");
    first.push(JSON.parse(line.value));
  }
  const got: unknown[] = [];
  const reading = (async () => {
    for await (const line of lines) got.push(JSON.parse(line));
  })().catch(() => {}); // The Worker was stopped.
  return {
    first,
    got,
    // By the reader, and not by an AbortSignal: undici holds that only weakly, so it is lost to garbage collection.
    async leave() {
      await reader.cancel();
      await reading;
      await ask(`left${query}`, "");
    },
  };
}

async function* linesOf(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const lines = (rest + decoder.decode(read.value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    // An empty line only shows that the response goes on.
    yield* lines.filter((line) => line !== "");
  }
}
