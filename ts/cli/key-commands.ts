import { once } from "node:events";
import type { KVStore } from "../index.js";
import { type CliOptions, storeOf, type Target, using } from "./store.js";
import { fail, print, printJson, shown, WrongCall } from "./terminal.js";

/** Connects a store, and runs `work` on it. */
function withStore(
  target: Target,
  options: CliOptions,
  work: (kv: KVStore) => Promise<number>,
): Promise<number> {
  return using(storeOf(target, options)[0], work);
}

export function get(target: Target, options: CliOptions, [key = ""]: string[]): Promise<number> {
  return withStore(target, options, async (kv) => {
    const value = await kv.get(key);
    if (options.json) printJson({ key, value });
    else if (value === null) fail(`There is no key ${JSON.stringify(key)}`);
    else print(shown(value));
    return value === null ? 1 : 0;
  });
}

export function set(target: Target, options: CliOptions, [key = "", value = ""]: string[]): Promise<number> {
  const expiry = expiryOf(options);
  return withStore(target, options, async (kv) => {
    await kv.set(key, value, expiry);
    if (options.json) printJson({ key, ok: true });
    else print("OK");
    return 0;
  });
}

function expiryOf({ ex }: CliOptions): { ex?: number } {
  if (ex === undefined) return {};
  const seconds = /^\d+$/.test(ex) ? Number(ex) : 0;
  if (seconds > 0 && Number.isSafeInteger(seconds)) return { ex: seconds };
  throw new WrongCall("--ex takes a whole number of seconds, at least 1");
}

export function keys(target: Target, options: CliOptions, [pattern = ""]: string[]): Promise<number> {
  return withStore(target, options, async (kv) => {
    for (const key of (await kv.keys(pattern)).sort()) printKey(options, key);
    return 0;
  });
}

export function scan(target: Target, options: CliOptions, [match = "*"]: string[]): Promise<number> {
  return withStore(target, options, async (kv) => {
    let cursor = "0";
    do {
      const page = await kv.scan(cursor, { match, count: 1_000 });
      for (const key of page.keys) printKey(options, key);
      cursor = page.cursor;
    } while (cursor !== "0");
    return 0;
  });
}

function printKey({ json }: CliOptions, key: string): void {
  if (json) printJson({ key });
  else print(shown(key));
}

export function monitor(target: Target, options: CliOptions, [channel = ""]: string[]): Promise<number> {
  return withStore(target, options, async (kv) => {
    const isPattern = /[*?[]/.test(channel);
    const hear = (message: string, from: string) => {
      if (options.json) printJson({ channel: from, message });
      else print(isPattern ? `${shown(from)}: ${shown(message)}` : shown(message));
    };
    const tell = (what: object, text: string) => {
      if (options.json) printJson(what);
      else fail(text);
    };
    kv.on("reconnecting", ({ connection, attempt, cause }) => {
      const text = `The connection for ${connection} is lost (${cause.message}): attempt ${attempt}`;
      tell({ reconnecting: attempt, connection }, text);
    });
    await kv.listen(isPattern ? [] : [channel], hear, {
      patterns: isPattern ? [channel] : [],
      onGap: (gap) => tell({ gap }, "Connected again: messages may have been missed"),
    });
    await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
    return 0;
  });
}
