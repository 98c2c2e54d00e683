// A rejection inside of the package that has no handler ends the application's process.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { createKV } from "covara-kv";
import { eventually } from "../backends.js";
import { expectRefusal, refusal } from "../replies.js";
import { warningsOf } from "../warnings.js";
import { Calls, PATIENT, test, underLoad } from "./faults.js";

test("no fault ends in an unhandled rejection, an uncaught exception or a warning", async ({
  redis,
  fake,
  client,
  open,
  defer,
}) => {
  const seen: unknown[] = [];
  const see = (error: unknown) => void seen.push(error);
  process.on("unhandledRejection", see).on("uncaughtException", see);
  defer(() => process.off("unhandledRejection", see).off("uncaughtException", see));
  const warnings = await warningsOf(async () => {
    const server = await redis();
    const admin = client(server);
    const kv = await open(server, {
      ...PATIENT,
      commandTimeout: 300,
      queueTimeout: 300,
      connectTimeout: 200,
      maxQueue: 20,
    });
    await kv.subscribe("news", () => {});
    await kv.listen(["news"], () => {}, { patterns: ["n*"] });
    const calls = new Calls(300, ["CONNECTION", "TIMEOUT", "QUEUE_FULL", "CLOSED", "READONLY", "NOAUTH"]);
    const load = underLoad(8, async (worker) => {
      const doings = [
        () => kv.get("a"),
        () => kv.multi().incr("n").exec(),
        () => kv.eval("return 1", [], []),
        () => kv.subscribe(`c${worker}`, () => {}),
        () => kv.unsubscribe(`c${worker}`),
      ];
      await Promise.all(doings.map((doing) => calls.try<unknown>(doing)));
    });
    const works = async () => {
      const before = calls.succeeded;
      await eventually(() => calls.succeeded > before + 200);
    };
    const fails = async (code: string) => {
      const before = calls.failed(code);
      await eventually(() => calls.failed(code) > before);
    };
    await works();
    await admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
    await admin.client("KILL", "TYPE", "pubsub", "SKIPME", "yes");
    await works();
    server.pause();
    await fails("TIMEOUT");
    server.resume();
    await works();
    await server.kill();
    await fails("QUEUE_FULL");
    await server.restart();
    await works();
    await kv.disconnect();
    await fails("CLOSED");
    await load.stop();

    const silent = await fake({ handshake: () => undefined });
    const { host, port } = silent;
    const redisConfig = { host, port, connectTimeout: 50, maxRetries: 1 };
    await expectRefusal(createKV({ type: "redis", redis: redisConfig }), refusal("CONNECTION"));
  });
  await turn();
  assert.deepEqual(seen, []);
  assert.deepEqual(warnings, []);
});
