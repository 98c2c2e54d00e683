// Programs and worker threads that use a Redis.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach } from "node:test";
import { Worker } from "node:worker_threads";
import type { RedisConfig } from "covara-kv";
import { eventually, timeoutFactor } from "../backends.js";

export interface Outcome {
  code: unknown;
  stdout: string;
  stderr: string;
}

/**
 * Runs a program in which `redis` is the configuration. It is killed, and so fails, if it has not ended after a minute. `onOutput` gets the
 * whole output so far, each time there is more.
 */
export function run(
  redis: RedisConfig,
  program: string,
  {
    flags = [],
    imports = 'import { createKV, createRedisKV, RedisKVStore } from "covara-kv";',
    env = {},
    onOutput,
  }: {
    flags?: string[];
    imports?: string;
    /** Added to the environment of this process. */
    env?: Record<string, string>;
    onOutput?: (output: string) => void;
  } = {},
): Promise<Outcome> {
  const source = `
    import { setImmediate as turn } from "node:timers/promises";
    ${imports}
    const redis = ${JSON.stringify(redis)};
    ${program}`;
  const options = {
    ...({ cwd: join(__dirname, "../.."), timeout: 60_000 * timeoutFactor, killSignal: "SIGKILL" } as const),
    env: { ...process.env, ...env },
  };
  return new Promise((resolve) => {
    const args = [...flags, "--input-type=module", "--eval", source];
    const child = execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr });
    });
    let output = "";
    child.stdout?.on("data", (chunk) => {
      output += chunk;
      onOutput?.(output);
    });
  });
}

const running = new Set<Worker>();
afterEach(() => Promise.all([...running].map((worker) => worker.terminate())));

/** A worker thread that does a job of worker.mjs. */
export class Thread {
  readonly worker: Worker;
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));
  readonly #exit: Promise<unknown>;
  hasEnded = false;

  constructor(job: string, redis: RedisConfig) {
    this.worker = new Worker(join(__dirname, "worker.mjs"), {
      workerData: { job, redis, signal: this.#signal },
      execArgv: [],
    });
    running.add(this.worker);
    this.#exit = once(this.worker, "exit").finally(() => {
      this.hasEnded = true;
      running.delete(this.worker);
    });
    this.#exit.catch(() => {}); // `ended` and `hasRaised` reject with it.
  }

  /** Resolves once the thread has raised its signal this many times. */
  async hasRaised(times: number): Promise<void> {
    await eventually(() => Atomics.load(this.#signal, 0) >= times || this.hasEnded);
    if (this.hasEnded) await this.#exit;
  }

  /** Resolves when the thread has ended by itself. Rejects with its error. */
  async ended(): Promise<void> {
    await this.#exit;
  }
}
