// The operator of a fleet must be able to decide which events instances hear, even where the application does not, and to see what decides.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { getFanoutStats, type RedisConfig } from "covara-kv";
import { eventually } from "../backends.js";
import { test, type World } from "../faults/faults.js";
import { EVENTS, eventsOf, hashOf, hear, newId, open, recordOf, statsOf, targeted, wire } from "./events.js";

const root = join(__dirname, "../..");
const NAME = "COVARA_KV_FANOUT";

interface Outcome {
  readonly code: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

function node(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: root, env: { ...process.env, ...env }, timeout: 30_000 };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, stdout, stderr });
    });
  });
}

async function modeOf(
  world: World,
  load: readonly string[],
  env: Record<string, string>,
  redis: RedisConfig,
) {
  const { host, port } = await world.redis();
  const program = `
    import { createKV, getFanoutStats } from "covara-kv";
    const kv = await createKV({ type: "redis", redis: ${JSON.stringify({ host, port, ...redis })} });
    await kv.subscribe("covara:events", () => {});
    console.log(getFanoutStats().streams[0].fanout);
    await kv.disconnect();`;
  return node([...load, "--input-type=module", "--eval", program], env);
}

for (const load of ["--import", "--require"]) {
  test(`${load} covara-kv/register takes the default of ${NAME}`, async (world) => {
    const registered = [load, "covara-kv/register"];
    for (const [env, redis, expected] of [
      [{}, {}, "targeted"],
      [{ [NAME]: "" }, {}, "targeted"],
      [{ [NAME]: "all" }, {}, "all"],
      [{ [NAME]: "all" }, { fanout: "filtered" as const }, "filtered"],
    ] as const) {
      const { stdout, stderr } = await modeOf(world, registered, env, redis);
      assert.equal(stdout.trim(), expected, stderr);
    }
    const { code, stderr } = await modeOf(world, registered, { [NAME]: "some" }, {});
    assert.equal(code, 1);
    assert.match(stderr, /COVARA_KV_FANOUT must be one of targeted, filtered, all/);
  });
}

test(`without it ${NAME} says nothing`, async (world) => {
  assert.equal((await modeOf(world, [], { [NAME]: "all" }, {})).stdout.trim(), "targeted");
});

test("doctor shows how events travel", async (world) => {
  const doctor = async (user: string, env = {}, config: Record<string, string> = {}) => {
    const { host, port } = await world.redis(config);
    const cli = [join(root, "dist/cli.js"), "doctor", `redis://${user}${host}:${port}`];
    const [text, json] = [await node(cli, env), await node([...cli, "--json"], env)];
    return { text: text.stdout, fanout: JSON.parse(json.stdout).fanout };
  };
  const good = await doctor("");
  assert.match(good.text, /fan-out +targeted: a channel for each subscription, by a script/);
  assert.deepEqual(good.fanout, { mode: "targeted", channels: true, publishes: "script" });
  const all = await doctor("", { [NAME]: "all" });
  assert.match(all.text, /fan-out +all, by the channel of the fleet/);
  const noEval = await doctor("", {}, { "rename-command": 'EVAL ""' });
  assert.deepEqual(noEval.fanout, { mode: "targeted", channels: true, publishes: "commands" });
  const user = "limited on nopass ~* resetchannels &covara:events &covara-kv-doctor:* +@all";
  const limited = await doctor("limited:any@", {}, { user });
  assert.match(limited.text, /this user may not use covara:events:\*/);
  assert.deepEqual(limited.fanout, { mode: "targeted", channels: false, publishes: "fleet" });
});

test("getFanoutStats shows what decides, for each store that hears", async (world) => {
  const server = await world.redis();
  const before = getFanoutStats().streams.length;
  const kv = await world.open(server);
  assert.equal(getFanoutStats().streams.length, before);
  await hear(kv);
  const { host, port } = server;
  assert.deepEqual(statsOf(server), {
    server: `${host}:${port}`,
    fanout: "targeted",
    delivers: "no-record",
    records: 0,
    channels: 0,
    refused: false,
    delivered: 0,
    notLocal: 0,
  });
  await kv.unsubscribe(EVENTS);
  assert.equal(getFanoutStats().streams.length, before);
});

test("records are the process's, whichever thread wrote them", async (world) => {
  const server = await world.redis();
  const [kv, client] = [await world.open(server), world.client(server)];
  const heard = await hear(kv);
  const [own, ofThread, far] = [await open(kv), newId(), newId()];
  const worker = new Worker(
    `const { createKV } = require("covara-kv");
    const { parentPort, workerData: { redis, record } } = require("node:worker_threads");
    createKV({ type: "redis", redis }).then(async (kv) => {
      parentPort.postMessage(await kv.hset(...record));
      parentPort.once("message", () => kv.disconnect());
    });`,
    {
      eval: true,
      workerData: {
        redis: { host: server.host, port: server.port },
        record: [hashOf("posts"), ofThread, recordOf(ofThread)],
      },
    },
  );
  world.defer(() => worker.terminate());
  await new Promise((resolve) => worker.once("message", resolve));
  await targeted(client, [own, ofThread]);
  for (const id of [far, ofThread, own]) await kv.publish(EVENTS, wire(id, id));
  await eventually(() => heard.length === 2);
  assert.deepEqual(eventsOf(heard), [ofThread, own]);
  // A record outlives the thread that wrote it: the process's streams may go on in another store.
  await worker.terminate();
  await kv.publish(EVENTS, wire(ofThread, "later"));
  await eventually(() => heard.length === 3);
});
