// Reads responses that are lines of JSON, while they arrive.

export interface Lines {
  /** The lines before `"live"`. */
  readonly first: readonly unknown[];
  /** The lines after it. */
  readonly got: readonly unknown[];
  /** Ends the response, as a client that goes away. */
  leave(): Promise<void>;
}

/** Resolves once the response has the line `"live"`. */
export async function openLines(response: Promise<Response>): Promise<Lines> {
  const reader = ((await response).body as ReadableStream<Uint8Array>).getReader();
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
