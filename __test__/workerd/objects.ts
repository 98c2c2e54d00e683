// What tests do with the objects of store-worker.ts.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Call } from "./store-worker.js";
import { startWorker, type Worker } from "./workerd.js";

export const startStores = (folder?: string) => startWorker(join(__dirname, "store-worker.ts"), folder);

/** Messages of one request, as they come. */
export interface Listener {
  readonly messages: readonly (readonly [channel: string, message: string])[];
  /** The client goes away. */
  leave(): Promise<void>;
}

/** An object, and its store in the Worker. */
export class RemoteObject {
  readonly #worker: Worker;
  readonly #name: string;

  constructor(worker: Worker, name = `object-${randomUUID()}`) {
    this.#worker = worker;
    this.#name = name;
  }

  /** Calls methods, all in one request. */
  call(...calls: Call[]): Promise<unknown[]> {
    return this.#json("call", calls);
  }

  /** Queues calls, and executes them. */
  multi(...calls: Call[]): Promise<unknown[]> {
    return this.#json("multi", calls);
  }

  async publish(channel: string, message: string): Promise<number> {
    const [receivers] = await this.call(["publish", channel, message]);
    return receivers as number;
  }

  /** Resolves once it is live. */
  async listen(channels: string[], patterns: string[] = []): Promise<Listener> {
    const body = JSON.stringify({ channels, patterns });
    const response = await this.#fetch("listen", { method: "POST", body });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const lines = linesOf(reader);
    await lines.next();
    const messages: [string, string][] = [];
    const reading = (async () => {
      for await (const line of lines) messages.push(JSON.parse(line));
    })().catch(() => {}); // The Worker has been stopped.
    return {
      messages,
      // Not by an AbortSignal: to that undici holds on weakly, for as long as no garbage is collected.
      async leave() {
        await reader.cancel();
        await reading;
      },
    };
  }

  /** What changes when the object has been evicted from memory. Asking wakes it. */
  life(): Promise<string> {
    return this.#json("life");
  }

  /** The names of the entries in its storage. */
  entries(): Promise<string[]> {
    return this.#json("entries");
  }

  async #json<T>(path: string, body?: unknown): Promise<T> {
    const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const response = await this.#fetch(path, init);
    if (response.status !== 200) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  #fetch(path: string, init: RequestInit): Promise<Response> {
    return this.#worker.fetch(`http://${this.#name}/${path}`, init);
  }
}

async function* linesOf(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const lines = (rest + decoder.decode(read.value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
