// Responses that are lines of JSON, as they come.

export interface Lines {
  /** What came before `"live"`. */
  readonly first: readonly unknown[];
  /** What has come since. */
  readonly got: readonly unknown[];
  /** The client goes away. */
  leave(): Promise<void>;
}

/** Resolves once the response has said that it is live. */
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
  })().catch(() => {}); // The Worker has been stopped.
  return {
    first,
    got,
    // Not by an AbortSignal: to that undici holds on weakly, for as long as no garbage is collected.
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
    // An empty one only shows that the response goes on.
    yield* lines.filter((line) => line !== "");
  }
}
