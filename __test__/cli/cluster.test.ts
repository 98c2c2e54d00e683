// `doctor` at a cluster. It shows every node, and why one does not answer. Redis's own `redis-cli --cluster check` stops there, without a reason.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually } from "../eventually.js";
import { type ClusterNode, type RedisCluster, startCluster } from "../redis-cluster.js";

const CLI = join(__dirname, "../../dist/cli.js");
const SECRET = "hunter2-s3cret";

function cli(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const options = { timeout: 60_000, env: { ...process.env, REDIS_URL: undefined } };
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], options, (error, stdout, stderr) => {
      assert.ok(!(stdout + stderr).includes(SECRET), "the password is shown");
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr });
    });
  });
}

interface Report {
  ok: boolean;
  code?: string;
  cluster: {
    nodes: {
      node: string;
      role: string;
      slots: [number, number][];
      master?: string;
      version?: string;
      latency?: number;
      code?: string;
      message?: string;
    }[];
    unassigned: [number, number][];
    unserved: [number, number][];
    requireFullCoverage?: boolean;
    warnings: string[];
  };
}

async function report(...args: string[]): Promise<Report> {
  const { stdout, stderr } = await cli("doctor", ...args, "--json");
  assert.ok(stdout.startsWith("{"), stdout + stderr);
  return JSON.parse(stdout);
}

const nodesOf = ({ addresses }: RedisCluster) =>
  addresses.map(({ host, port }) => `${host}:${port}`).join(",");

describe("three masters with a replica each", { timeout: 120_000 }, () => {
  let started: RedisCluster | undefined;
  before(async () => {
    started = await startCluster({ nodeTimeout: 1_000 });
  });
  after(() => started?.stop());
  const cluster = () => started as RedisCluster;

  test("by a url of one node, and by --cluster: each node with its role, slots, master, version and latency", async () => {
    const [first] = cluster().nodes;
    assert.ok(first);
    for (const { admin } of cluster().nodes) {
      await admin.call("ACL", "SETUSER", "doctor", "on", `>${SECRET}`, "~*", "&*", "+@all");
    }
    for (const args of [
      [`redis://${first.place}`],
      ["--cluster", nodesOf(cluster())],
      ["--cluster", `redis://doctor:${SECRET}@${first.place}`],
    ]) {
      const { code, stdout } = await cli("doctor", ...args);
      assert.equal(code, 0, stdout);
      assert.match(
        stdout,
        /cluster +3 masters, 3 replicas, 16384 of 16384 slots, cluster-require-full-coverage yes/,
      );
      assert.match(stdout, /^ +node +role +slots +master +version +latency$/m);
      for (const { node, view } of await cluster().masters()) {
        const [[from, to] = [0, 0]] = view.ranges;
        const row = `^ +${node.place} +master +${from}-${to} \\(${to - from + 1}\\) +\\d+\\.\\d+\\.\\d+ +[\\d.]+ (ms|µs)$`;
        assert.match(stdout, new RegExp(row, "m"));
        for (const replica of await cluster().replicasOf(node)) {
          assert.match(stdout, new RegExp(`^ +${replica.place} +replica +${node.place} +\\d`, "m"));
        }
      }
      assert.doesNotMatch(stdout, / ! /);
    }
    const told = await report("--cluster", first.place);
    assert.deepEqual([told.ok, told.cluster.nodes.length, told.cluster.warnings], [true, 6, []]);
    assert.deepEqual([told.cluster.unassigned, told.cluster.unserved], [[], []]);
    assert.equal(told.cluster.requireFullCoverage, true);
  });

  test("a node that says otherwise than the others", async () => {
    const [, second] = await cluster().masters();
    assert.ok(second);
    const [[slot] = [0]] = second.view.ranges;
    await second.node.admin.call("CLUSTER", "DELSLOTS", slot);
    try {
      const { cluster: told } = await report("--cluster", nodesOf(cluster()));
      const text = `${second.node.place} says otherwise than most nodes who has the slots ${slot}`;
      assert.ok(told.warnings.includes(text), told.warnings.join("\n"));
    } finally {
      await second.node.admin.call("CLUSTER", "ADDSLOTS", slot);
      await cluster().converged();
    }
  });

  // A move that was broken off: keys of the slot are at two masters, and commands of several keys fail with TRYAGAIN.
  test("slots that are on their way", async () => {
    const [from, to] = await cluster().masters();
    assert.ok(from && to);
    const [[slot] = [0]] = from.view.ranges;
    const { admin: source } = from.node;
    const { admin: target } = to.node;
    const [fromId, toId] = await Promise.all([source, target].map((admin) => admin.call("CLUSTER", "MYID")));
    await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", `${toId}`);
    await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", `${fromId}`);
    await source.call("CLUSTER", "SETSLOT", slot + 1, "MIGRATING", `${toId}`);
    try {
      const { ok, cluster: told } = await report("--cluster", nodesOf(cluster()));
      assert.equal(ok, true);
      const way = `from ${from.node.place} to ${to.node.place}`;
      assert.deepEqual(told.warnings, [`the slots ${slot}-${slot + 1} are on their way ${way}`]);
    } finally {
      for (const admin of [source, target])
        for (const each of [slot, slot + 1]) await admin.call("CLUSTER", "SETSLOT", each, "STABLE");
    }
  });

  test("a killed master: why it does not answer; once its replica is the master, that it has none", async () => {
    const [master] = await cluster().masters();
    assert.ok(master);
    const { place } = master.node;
    const [[from = 0] = []] = master.view.ranges;
    await master.node.kill();
    const next = await cluster().replaced(master.node, from);
    const url = `redis://${next.place}`;
    await eventually(async () => {
      const { code, stdout } = await cli("doctor", url);
      return code === 0 && new RegExp(`^ +${place} +master .*${place}: .*refused`, "m").test(stdout);
    });
    const { ok, cluster: told } = await report("--cluster", nodesOf(cluster()));
    assert.equal(ok, true, JSON.stringify(told.warnings));
    const dead = told.nodes.find(({ node }) => node === place);
    assert.equal(dead?.code, "CONNECTION refused");
    assert.ok(
      told.warnings.includes(`no replica can take the place of ${next.place}`),
      told.warnings.join("\n"),
    );
    await cluster().heal();
  });
});

describe("three masters without replicas", { timeout: 120_000 }, () => {
  let started: RedisCluster | undefined;
  before(async () => {
    started = await startCluster({ nodeTimeout: 1_000, replicasEach: 0 });
  });
  after(() => started?.stop());
  const cluster = () => started as RedisCluster;

  test("that they have none; whose slots nobody serves, and nobody has", async () => {
    const [first, second] = await cluster().masters();
    assert.ok(first && second);
    const whole = await report("--cluster", first.node.place);
    assert.equal(whole.ok, true);
    assert.match(
      whole.cluster.warnings.join("\n"),
      /^no replica can take the place of .*:\d+, .*:\d+, .*:\d+$/,
    );
    await second.node.kill();
    const [[from, to] = [0, 0]] = second.view.ranges;
    // Both wait for ten seconds, like a store of a cluster.
    const [{ code, stdout }, told] = await Promise.all([
      cli("doctor", `redis://${first.node.place}`),
      report("--cluster", first.node.place),
    ]);
    assert.equal(code, 1);
    assert.match(stdout, new RegExp(`! the master of the slots ${from}-${to} does not answer`));
    assert.match(stdout, /! the cluster serves no other slots either while that is so/);
    assert.match(stdout, new RegExp(`^ +${second.node.place} +master +${from}-${to} .*refused`, "m"));
    assert.deepEqual([told.ok, told.cluster.unserved], [false, [[from, to]]]);
  });

  test("slots that nobody has", async () => {
    const masters = cluster().running;
    const [first] = await cluster().masters();
    assert.ok(first);
    const [[from] = [0]] = first.view.ranges;
    // A node that still knows the slots' master may tell it to one that has forgotten it.
    const isForgotten = async ({ admin }: ClusterNode) => {
      await admin.call("CLUSTER", "DELSLOTSRANGE", from, from + 9).catch(() => {});
      const info = String(await admin.call("CLUSTER", "INFO"));
      return info.includes("cluster_slots_assigned:16374\r\n");
    };
    await eventually(async () => (await Promise.all(masters.map(isForgotten))).every(Boolean));
    const [{ code, stdout }, told] = await Promise.all([
      cli("doctor", "--cluster", first.node.place),
      report("--cluster", first.node.place),
    ]);
    assert.deepEqual(told.cluster.unassigned, [[from, from + 9]]);
    assert.equal(code, 1);
    assert.match(stdout, new RegExp(`! nobody has the slots ${from}-${from + 9}$`, "m"));
    assert.match(stdout, /16374 of 16384 slots/);
  });
});

test("a cluster of which nobody answers is told of with the reason of each node", async () => {
  const { code, stdout } = await cli("doctor", "--cluster", "127.0.0.1:1,127.0.0.1:2");
  assert.equal(code, 1);
  assert.match(stdout, /127\.0\.0\.1:1: .*refused.*127\.0\.0\.1:2: .*refused/);
});

test("--cluster with a URL, or with what is none, is a wrong call that does not show it", async () => {
  for (const args of [
    ["--cluster", "a:1", "redis://h"],
    ["--cluster", `redis://u:${SECRET}@`],
    ["--cluster", `a:${SECRET}`],
    ["--cluster", "a:0"],
    ["--cluster", "a:1,"],
    ["--cluster", `redis://u:${SECRET}@h:1/2`],
  ]) {
    const { code, stderr } = await cli("doctor", ...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /--cluster/);
  }
});
