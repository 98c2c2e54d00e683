// Stores on a real Redis, their errors, and the connections that the server sees.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { inspect } from "node:util";
import { createKV, KVError, type KVStore, type RedisConfig } from "covara-kv";
import { Redis } from "ioredis";
import { type RedisServer, startRedis } from "../redis-server.js";
import { errorOf } from "../replies.js";

/** A password that no error may contain. */
export const SECRET = "p@ss:w/ord%-hunter2";

export const open = (redis: RedisConfig, prefix?: string): Promise<KVStore> =>
  createKV({ type: "redis", redis, ...(prefix !== undefined && { prefix }) });

/** Resolves to the error of createKV. Fails if the error contains the password. */
export async function refusalOf(redis: RedisConfig): Promise<KVError> {
  const opened = open(redis);
  opened.then((kv) => kv.disconnect()).catch(() => {}); // A store that opens by mistake must not outlive the test.
  return withoutSecret(await errorOf(opened, "createKV"));
}

export function withoutSecret(error: unknown): KVError {
  assert.ok(error instanceof KVError, `not a KVError: ${inspect(error)}`);
  const shown = [
    error.message,
    error.stack,
    inspect(error.cause),
    inspect(error, { depth: 9, showHidden: true }),
  ];
  for (const secret of [SECRET, encodeURIComponent(SECRET), "hunter2"]) {
    assert.ok(!shown.join("\n").includes(secret), `the password is in ${shown.join("\n")}`);
  }
  return error;
}

/** The fields of a client in CLIENT LIST. */
export type Client = Record<string, string>;

/** A Redis that all tests of a file share. */
export class SharedRedis {
  #server: RedisServer | undefined;
  #admin: Redis | undefined;

  /** `prepare` changes the started server, for settings that would lock out the test itself, such as a required password. */
  constructor(
    config: () => Record<string, string> | Promise<Record<string, string>> = () => ({}),
    prepare?: (admin: Redis) => Promise<unknown>,
  ) {
    before(async () => {
      this.#server = await startRedis(await config());
      this.#admin = new Redis({ ...this.address, connectionName: "admin" });
      await prepare?.(this.#admin);
    });
    after(async () => {
      this.#admin?.disconnect();
      await this.#server?.stop();
    });
  }

  get address(): { host: string; port: number } {
    assert.ok(this.#server, "there is no server before the tests");
    return { host: this.#server.host, port: this.#server.port };
  }

  get endpoint(): string {
    return `${this.address.host}:${this.address.port}`;
  }

  get admin(): Redis {
    assert.ok(this.#admin, "there is no server before the tests");
    return this.#admin;
  }

  /** All clients but the admin. */
  async clients(): Promise<Client[]> {
    const list = String(await this.admin.client("LIST"));
    const fields = (line: string) =>
      line.split(" ").map((field) => /^([^=]+)=(.*)$/.exec(field)?.slice(1) ?? []);
    const clients = list
      .trim()
      .split("\n")
      .map((line) => Object.fromEntries(fields(line)) as Client);
    return clients.filter(({ name }) => name !== "admin");
  }

  /** The only client with this name. */
  async client(name: string): Promise<Client> {
    const named = (await this.clients()).filter((client) => client.name === name);
    assert.equal(named.length, 1);
    return named[0] as Client;
  }
}
