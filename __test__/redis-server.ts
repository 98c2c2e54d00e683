// A real Redis for a test: `redis-server` on a free port of the loopback interface, without anything on disk.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { scratchFolder } from "./scratch-folder.js";

export interface RedisServer {
  readonly host: string;
  readonly port: number;
  /** Ends the process by SIGKILL. The files in its directory stay. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on the same port and with the same files. Resolves once it answers PING. */
  restart(): Promise<void>;
  /** Stops the process until `resume`; the operating system still accepts connections and bytes for it. */
  pause(): void;
  resume(): void;
  /** Ends the process and removes what it left. May be called twice. */
  stop(): Promise<void>;
}

const HOST = "127.0.0.1";
/** The redis-server on PATH, or the program of another server that scripts/servers.mjs has fetched. */
const PROGRAM = process.env.REDIS_SERVER ?? "redis-server";
const SIGNALS = ["SIGINT", "SIGTERM"] as const;
// Each server listens for them. With more than ten Node.js warns.
process.setMaxListeners(0);
/** A port that has just been free may be in use when the server starts. */
const ATTEMPTS = 5;

/** Which server `startRedis` starts. Valkey has versions of its own, from 7.2 on. */
export interface Software {
  readonly name: "Redis" | "Valkey";
  readonly version: readonly [major: number, minor: number, patch: number];
}

export function software(): Software {
  const { error, stdout } = spawnSync(PROGRAM, ["--version"], { encoding: "utf8" });
  if (error) throw notStarted(error);
  const [, name, ...version] = /^(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)/.exec(stdout) ?? [];
  if (name !== "Redis" && name !== "Valkey") throw new Error(`${PROGRAM} --version: ${stdout}`);
  return { name, version: version.map(Number) as [number, number, number] };
}

/** The reason to skip what wants TLS, or false. A server that has it looks for a certificate, and ends as there is none. */
export function withoutTls(): string | false {
  const { stdout, stderr } = spawnSync(PROGRAM, ["--port", "0", "--tls-port", "1"], { encoding: "utf8" });
  return !`${stdout}${stderr}`.includes("Failed to configure TLS") && "this server is built without TLS";
}

/**
 * Listens on 127.0.0.1, or on `config.bind`. Resolves once the server answers PING. `args` follow the configuration on the command line,
 * such as `--sentinel`. Fails if there is no `redis-server`: a test that needs one must not pass without.
 */
export async function startRedis(
  config: Record<string, string> = {},
  ...args: string[]
): Promise<RedisServer> {
  // The first of several addresses is the one that is asked for PING.
  const host = config.bind?.split(" ")[0] ?? HOST;
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const directory = scratchFolder("redis");
    const server = new Process(host, port, directory, config, args);
    try {
      await server.ready();
      return {
        host,
        port,
        kill: () => server.kill(),
        restart: () => server.restart(),
        pause: () => server.signal("SIGSTOP"),
        resume: () => server.signal("SIGCONT"),
        stop: () => server.stop(),
      };
    } catch (error) {
      await server.stop();
      if (attempt === ATTEMPTS || !server.output.includes("Address already in use")) throw error;
    }
  }
}

class Process {
  readonly #host: string;
  readonly #port: number;
  readonly #directory: string;
  readonly #file: string;
  readonly #args: readonly string[];
  #child: ChildProcess;
  /** Resolves, never rejects, once the process is gone or could not be started. */
  #gone: Promise<Error>;
  output = "";

  constructor(
    host: string,
    port: number,
    directory: string,
    config: Record<string, string>,
    args: readonly string[],
  ) {
    this.#args = args;
    this.#host = host;
    this.#port = port;
    this.#directory = directory;
    const options = { port, bind: HOST, dir: directory, save: '""', appendonly: "no", ...config };
    this.#file = join(directory, "redis.conf");
    writeFileSync(
      this.#file,
      Object.entries(options)
        .map((option) => `${option.join(" ")}\n`)
        .join(""),
    );
    [this.#child, this.#gone] = this.#start();
    process.once("exit", this.#end);
    for (const signal of SIGNALS) process.once(signal, this.#pass);
  }

  #start(): [ChildProcess, Promise<Error>] {
    const child = spawn(PROGRAM, [this.#file, ...this.#args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        this.output += chunk;
      });
    }
    const gone = new Promise<Error>((resolve) => {
      child.once("error", (cause) => resolve(notStarted(cause)));
      child.once("close", () => resolve(new Error(`redis-server ended:\n${this.output}`)));
    });
    return [child, gone];
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#gone;
  }

  async restart(): Promise<void> {
    [this.#child, this.#gone] = this.#start();
    await this.ready();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async ready(): Promise<void> {
    for (;;) {
      const outcome = await Promise.race([this.#gone, answers(this.#host, this.#port, this.#child.pid)]);
      if (outcome === true) return;
      if (outcome instanceof Error) throw outcome;
    }
  }

  async stop(): Promise<void> {
    await this.kill();
    this.#end();
    process.removeListener("exit", this.#end);
    for (const signal of SIGNALS) process.removeListener(signal, this.#pass);
  }

  /** Does not wait. The removal fails at first if the dying process still writes into its directory. */
  readonly #end = () => {
    this.#child.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  };

  /** A test that is stopped by a signal must not leave its server running. */
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

/** Test files run beside each other, and a killed server comes back on its port: each process gives ports of a range of its own, once each. */
const RANGES = 8;
const EACH = 2_750;
const given = new Set<number>();

/** Outside the range from which the system gives ports to clients: otherwise a client could take the port while the server is down. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + EACH * (process.pid % RANGES) + randomInt(EACH);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer().listen(port, HOST);
    const free = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!free) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** Whether the process with this id answers, and not another one that has taken the port in the meantime. */
function answers(host: string, port: number, pid: number | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => socket.write("PING\r\nINFO server\r\n"));
    let reply = "";
    socket.on("data", (chunk) => {
      reply += chunk;
      if (reply.startsWith("-LOADING")) socket.destroy(); // Still loading.
      const id = /^\+PONG.*process_id:(\d+)\r\n/s.exec(reply)?.[1];
      if (id === undefined) return;
      socket.destroy();
      resolve(Number(id) === pid);
    });
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}
