// Without these events an operator cannot tell which command is slow or fails, or backends tell it differently.
import assert from "node:assert/strict";
import { channel } from "node:diagnostics_channel";
import type { CommandMessage, DiagnosticsMessages } from "covara-kv";
import { onEveryBackend } from "../backends.js";
import { expectRefusal, refusal } from "../replies.js";

type Name = keyof DiagnosticsMessages;

/**
 * Listens to the diagnostics channels while `body` runs. Resolves to the messages of the store with this prefix, each with the last part of
 * its channel's name.
 */
async function messagesDuring(
  prefix: string,
  body: () => Promise<void>,
): Promise<[string, CommandMessage][]> {
  const heard: [string, CommandMessage][] = [];
  const names: Name[] = ["covara-kv:command:start", "covara-kv:command:error", "covara-kv:command:end"];
  const listeners = names.map((name) => {
    const listener = (message: unknown) => {
      const command = message as CommandMessage;
      if (command.prefix === prefix) heard.push([name.split(":")[2] as string, command]);
    };
    channel(name).subscribe(listener);
    return () => channel(name).unsubscribe(listener);
  });
  try {
    await body();
  } finally {
    for (const stop of listeners) stop();
  }
  return heard;
}

onEveryBackend("diagnostics", (test) => {
  test("each command is told of at its start and its end, with one object", async ({ open, unique }) => {
    const prefix = unique("traced");
    const kv = await open({ prefix });
    const heard = await messagesDuring(prefix, async () => {
      await kv.set("secret-key", "secret-value");
      await kv.mget("a", "b");
      await kv.multi().incr("n").get("n").exec();
    });
    assert.deepEqual(
      heard.map(([event, { command }]) => `${event} ${command}`),
      ["start SET", "end SET", "start MGET", "end MGET", "start EXEC", "end EXEC"],
    );
    assert.equal(heard[0]?.[1], heard[1]?.[1]);
    assert.doesNotMatch(JSON.stringify(heard), /secret/);
    await kv.get("secret-key");
    assert.equal(heard.length, 6);
  });

  test("a failure is told of before the end", async ({ open, unique }) => {
    const prefix = unique("traced");
    const kv = await open({ prefix, strict: true });
    await kv.set("k", "x");
    const heard = await messagesDuring(prefix, async () => {
      await expectRefusal(kv.incr("k"), refusal("ERR"));
      await expectRefusal(kv.get(5 as never), refusal("INVALID_ARGUMENT"));
    });
    assert.deepEqual(
      heard.map(([event, { command, error }]) => [event, command, (error as { code?: string })?.code]),
      ["ERR", "INVALID_ARGUMENT"].flatMap((code) => {
        const command = code === "ERR" ? "INCR" : "GET";
        return ["start", "error", "end"].map((event) => [event, command, code]);
      }),
    );
  });
});
