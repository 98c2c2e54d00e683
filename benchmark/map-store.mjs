// The naive peer: a store as it is commonly written in JavaScript, with the methods of KVStore that are benchmarked. Each method is the
// straightforward way, and not slow on purpose.

/** How often the whole store is walked for expired keys, in ms. */
const SWEEP_EVERY = 1_000;

export class MapStore {
  #prefix;
  /** Entries by name, prefix included: `{ type, value, expiresAt }`, with `expiresAt` in ms since the epoch. */
  #entries = new Map();
  /** Callbacks by channel. */
  #callbacks = new Map();

  constructor(prefix = "") {
    this.#prefix = prefix;
    setInterval(() => this.#sweep(), SWEEP_EVERY).unref();
  }

  async get(key) {
    return this.#read(key, "string") ?? null;
  }

  async set(key, value, options) {
    const name = this.#name(key);
    if (options?.nx && this.#alive(name) !== undefined) return;
    if (options?.xx && this.#alive(name) === undefined) return;
    const lifetime = options?.px ?? (options?.ex === undefined ? undefined : options.ex * 1_000);
    const expiresAt = lifetime === undefined ? undefined : Date.now() + lifetime;
    this.#entries.set(name, { type: "string", value, expiresAt });
  }

  async incr(key) {
    const entry = this.#open(key, "string", () => "0");
    const sum = Number(entry.value) + 1;
    entry.value = String(sum);
    return sum;
  }

  async expire(key, seconds) {
    const entry = this.#alive(this.#name(key));
    if (entry === undefined) return false;
    entry.expiresAt = Date.now() + seconds * 1_000;
    return true;
  }

  async hget(key, field) {
    return this.#read(key, "hash")?.get(field) ?? null;
  }

  async hgetall(key) {
    return Object.fromEntries(this.#read(key, "hash") ?? []);
  }

  async hset(key, field, value) {
    const fields = this.#open(key, "hash", () => new Map()).value;
    const isNew = !fields.has(field);
    fields.set(field, value);
    return isNew ? 1 : 0;
  }

  async sadd(key, ...added) {
    const members = this.#open(key, "set", () => new Set()).value;
    const before = members.size;
    for (const member of added) members.add(member);
    return members.size - before;
  }

  async sismember(key, member) {
    return this.#read(key, "set")?.has(member) ?? false;
  }

  async srem(key, ...removed) {
    const members = this.#read(key, "set");
    if (members === undefined) return 0;
    const before = members.size;
    for (const member of removed) members.delete(member);
    return before - members.size;
  }

  async lpush(key, ...values) {
    const list = this.#open(key, "list", () => []).value;
    for (const value of values) list.unshift(value);
    return list.length;
  }

  async rpush(key, ...values) {
    const list = this.#open(key, "list", () => []).value;
    list.push(...values);
    return list.length;
  }

  async lpop(key) {
    return this.#read(key, "list")?.shift() ?? null;
  }

  async rpop(key) {
    return this.#read(key, "list")?.pop() ?? null;
  }

  async zadd(key, score, member) {
    const entry = this.#open(key, "zset", () => []);
    const existing = entry.value.find((element) => element.member === member);
    if (existing === undefined) entry.value.push({ member, score });
    else existing.score = score;
    entry.value.sort((a, b) => a.score - b.score);
    return existing === undefined ? 1 : 0;
  }

  async zrem(key, ...members) {
    const elements = this.#read(key, "zset");
    if (elements === undefined) return 0;
    let removed = 0;
    for (const member of members) {
      const index = elements.findIndex((element) => element.member === member);
      if (index === -1) continue;
      elements.splice(index, 1);
      removed += 1;
    }
    return removed;
  }

  async zcard(key) {
    return this.#read(key, "zset")?.length ?? 0;
  }

  async zrange(key, start, stop) {
    const elements = this.#read(key, "zset") ?? [];
    const end = stop < 0 ? elements.length + stop + 1 : stop + 1;
    return elements.slice(start, Math.max(end, 0)).map(({ member }) => member);
  }

  async zrangebyscore(key, min, max) {
    const low = min === "-inf" ? -Infinity : Number(min);
    const high = max === "+inf" ? Infinity : Number(max);
    const elements = this.#read(key, "zset") ?? [];
    return elements.filter(({ score }) => score >= low && score <= high).map(({ member }) => member);
  }

  async subscribe(channel, callback) {
    const callbacks = this.#callbacks.get(channel) ?? [];
    this.#callbacks.set(channel, callbacks);
    callbacks.push(callback);
  }

  async publish(channel, message) {
    const callbacks = this.#callbacks.get(channel);
    if (callbacks === undefined) return 0;
    for (const callback of callbacks) {
      try {
        callback(message, channel);
      } catch (error) {
        console.error(error);
      }
    }
    return callbacks.length;
  }

  async keys(pattern) {
    const glob = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
    const matching = new RegExp(`^${glob.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
    return this.#list().filter((key) => matching.test(key));
  }

  async scan(cursor, { match = undefined, count = 10 } = {}) {
    const keys = match === undefined ? this.#list() : await this.keys(match);
    const start = Number(cursor);
    const end = start + count;
    return { cursor: end < keys.length ? String(end) : "0", keys: keys.slice(start, end) };
  }

  /** All keys, without the prefix. */
  #list() {
    const prefix = this.#name("");
    const keys = [];
    for (const name of this.#entries.keys()) {
      if (name.startsWith(prefix) && this.#alive(name) !== undefined) keys.push(name.slice(prefix.length));
    }
    return keys;
  }

  #name(key) {
    return this.#prefix === "" ? key : `${this.#prefix}:${key}`;
  }

  /** The entry of a name, unless it has expired. */
  #alive(name) {
    const entry = this.#entries.get(name);
    if (entry?.expiresAt === undefined || entry.expiresAt > Date.now()) return entry;
    this.#entries.delete(name);
    return undefined;
  }

  #read(key, type) {
    const entry = this.#alive(this.#name(key));
    return entry?.type === type ? entry.value : undefined;
  }

  /** The entry to write to: a new one if the key has none, or one of another type. */
  #open(key, type, create) {
    const name = this.#name(key);
    let entry = this.#alive(name);
    if (entry?.type !== type) {
      entry = { type, value: create(), expiresAt: undefined };
      this.#entries.set(name, entry);
    }
    return entry;
  }

  #sweep() {
    const now = Date.now();
    for (const [name, { expiresAt }] of this.#entries) {
      if (expiresAt !== undefined && expiresAt <= now) this.#entries.delete(name);
    }
  }
}
