// A real Redis for a test: `redis-server` on a free port of the loopback interface, without anything on disk.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface RedisServer {
  readonly host: string;
  readonly port: number;
  /** Ends the process and removes what it left. May be called twice. */
  stop(): Promise<void>;
}

const HOST = "127.0.0.1";
const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** A port that was free a moment ago may be taken by now. */
const ATTEMPTS = 5;

/** Resolves once the server answers PING. Fails if there is no `redis-server`: a test that needs it must not pass without. */
export async function startRedis(config: Record<string, string> = {}): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), "covara-kv-redis-"));
    const server = new Process(port, directory, config);
    try {
      await server.ready();
      return { host: HOST, port, stop: () => server.stop() };
    } catch (error) {
      await server.stop();
      if (attempt === ATTEMPTS || !server.output.includes("Address already in use")) throw error;
    }
  }
}

class Process {
  readonly #port: number;
  readonly #directory: string;
  readonly #child: ChildProcess;
  /** Resolves, never rejects, once the process is gone or could not be started. */
  readonly #gone: Promise<Error>;
  output = "";

  constructor(port: number, directory: string, config: Record<string, string>) {
    this.#port = port;
    this.#directory = directory;
    const options = { port, bind: HOST, dir: directory, save: '""', appendonly: "no", ...config };
    const file = join(directory, "redis.conf");
    writeFileSync(
      file,
      Object.entries(options)
        .map((option) => `${option.join(" ")}\n`)
        .join(""),
    );
    this.#child = spawn("redis-server", [file], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk) => {
        this.output += chunk;
      });
    }
    this.#gone = new Promise((resolve) => {
      this.#child.once("error", (cause) => resolve(notStarted(cause)));
      this.#child.once("close", () => resolve(new Error(`redis-server ended:\n${this.output}`)));
    });
    process.once("exit", this.#end);
    for (const signal of SIGNALS) process.once(signal, this.#pass);
  }

  async ready(): Promise<void> {
    for (;;) {
      const outcome = await Promise.race([this.#gone, answers(this.#port, this.#child.pid)]);
      if (outcome === true) return;
      if (outcome instanceof Error) throw outcome;
    }
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#gone;
    process.removeListener("exit", this.#end);
    for (const signal of SIGNALS) process.removeListener(signal, this.#pass);
  }

  /** It writes nothing into its directory, which may go before it. */
  readonly #end = () => {
    this.#child.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  };

  /** A test that is stopped from outside must not leave its server behind. */
  readonly #pass = (signal: NodeJS.Signals) => {
    this.#end();
    process.kill(process.pid, signal);
  };
}

function notStarted(cause: Error): Error {
  return new Error(
    "These tests compare with a real Redis: install redis-server (7 or later) so that it is on PATH",
    {
      cause,
    },
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("the probe has no port");
  return address.port;
}

/** Whether this very process answers: another one may have taken the port in the meantime. */
function answers(port: number, pid: number | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST, () => socket.write("PING\r\nINFO server\r\n"));
    let reply = "";
    socket.on("data", (chunk) => {
      reply += chunk;
      const id = /^\+PONG.*process_id:(\d+)\r\n/s.exec(reply)?.[1];
      if (id === undefined) return;
      socket.destroy();
      resolve(Number(id) === pid);
    });
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}
