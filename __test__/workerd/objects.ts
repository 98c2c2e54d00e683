// The calls of tests on the objects of store-worker.ts.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type Lines, openLines } from "./lines.js";
import type { Call } from "./store-worker.js";
import { startWorker, type Worker } from "./workerd.js";

export const startStores = (folder?: string) =>
  startWorker(join(__dirname, "store-worker.ts"), folder === undefined ? {} : { folder });

/** An object, and the store on it in the Worker. */
export class RemoteObject {
  readonly #worker: Worker;
  readonly #name: string;

  constructor(worker: Worker, name = `object-${randomUUID()}`) {
    this.#worker = worker;
    this.#name = name;
  }

  /** Calls methods one after the other, in one request. */
  call(...calls: Call[]): Promise<unknown[]> {
    return this.#json("call", calls);
  }

  /** Queues calls in a transaction, and executes it. */
  multi(...calls: Call[]): Promise<unknown[]> {
    return this.#json("multi", calls);
  }

  async publish(channel: string, message: string): Promise<number> {
    const [receivers] = await this.call(["publish", channel, message]);
    return receivers as number;
  }

  /** The messages that one request hears, each with its channel. Resolves once it is live. */
  listen(channels: string[], patterns: string[] = []): Promise<Lines> {
    const ask = (path: string, body: string) => this.#fetch(path, { method: "POST", body });
    return openLines(ask, "listen", { channels, patterns });
  }

  /** An id that changes when the object is evicted from memory. Asking for it wakes the object. */
  life(): Promise<string> {
    return this.#json("life");
  }

  /** The names of the entries in its storage. */
  entries(): Promise<string[]> {
    return this.#json("entries");
  }

  /** The number of sockets with a tag. */
  tagged(tag: string): Promise<number> {
    return this.#json(`tagged?tag=${encodeURIComponent(tag)}`);
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
