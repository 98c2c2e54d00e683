// Worker threads that use a shared store: worker.mjs has their jobs.
import { once } from "node:events";
import { join } from "node:path";
import { afterEach } from "node:test";
import { Worker } from "node:worker_threads";
import { eventually } from "../backends.js";

const running = new Set<Worker>();
afterEach(() => Promise.all([...running].map((worker) => worker.terminate())));

export class Thread {
  readonly worker: Worker;
  readonly #signal = new Int32Array(new SharedArrayBuffer(8));
  readonly #exit: Promise<unknown>;
  hasEnded = false;

  constructor(job: string, shared: string, data: Record<string, unknown> = {}) {
    this.worker = new Worker(join(__dirname, "worker.mjs"), {
      workerData: { job, shared, signal: this.#signal, ...data },
      execArgv: [],
    });
    running.add(this.worker);
    this.#exit = once(this.worker, "exit").finally(() => {
      this.hasEnded = true;
      running.delete(this.worker);
    });
    this.#exit.catch(() => {}); // `ended` and `isUnderway` reject with it.
  }

  /** How often the thread has raised its signal. */
  get raised(): number {
    return Atomics.load(this.#signal, 0);
  }

  /** Resolves once the thread has raised its signal. */
  async isUnderway(): Promise<this> {
    await eventually(() => this.raised > 0 || this.hasEnded);
    if (this.hasEnded) await this.#exit;
    return this;
  }

  /** Blocks this thread, with its event loop, until the other thread raises its signal. */
  block(): void {
    Atomics.wait(this.#signal, 0, 0);
  }

  /** Lets a thread in the job `hold` end. */
  release(): void {
    Atomics.store(this.#signal, 1, 1);
    Atomics.notify(this.#signal, 1);
  }

  /** Resolves when the thread has ended by itself. Rejects with its error. */
  async ended(): Promise<void> {
    await this.#exit;
  }
}
