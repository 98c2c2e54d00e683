// npm run bench:capacity [-- --json] [-- --strict-bars]
// What a million string keys take, and how long they hold up the event loop when they expire: see README.md.
import { child, commandLine, digits, finish, machine, mark, median, setting, table } from "./report.mjs";

const MB = 1e6;
const { json, strict } = commandLine();
const rounds = setting("BENCH_ROUNDS", 3);

/** The median of each figure of a measurement. */
async function measure(...args) {
  const results = [];
  for (let round = 0; round < rounds; round += 1) results.push(await child("capacity-one.mjs", ...args));
  const figures = Object.keys(results[0]).map((figure) => [
    figure,
    median(results.map((result) => result[figure])),
  ]);
  return Object.fromEntries(figures);
}

const growth = { native: await measure("growth", "native"), map: await measure("growth", "map") };
const stall = { native: await measure("stall", "native"), map: await measure("stall", "map") };
const idle = await measure("idle");

const ratio = growth.native.rss / growth.map.rss;
const bars = { memory: ratio <= 0.7, heap: growth.native.heap < 5 * MB, stall: stall.native.longest < 2 };

/** A line of the table: a figure of both stores. */
const line = (label, { native, map = undefined }, bar = "", met = undefined) => [
  label,
  digits(native),
  map === undefined ? "" : digits(map),
  bar,
  mark(met),
];
const both = (results, figure, factor = 1) => ({
  native: results.native[figure] * factor,
  map: results.map[figure] * factor,
});
const lines = [
  ["a million keys of 100 bytes", "native", "Map", "bar", ""],
  line("resident memory, MB", both(growth, "rss", 1 / MB)),
  line("  native ÷ Map", { native: ratio }, "≤ 0.7", bars.memory),
  line("growth of V8's heap, MB", both(growth, "heap", 1 / MB), "< 5", bars.heap),
  line("longest stall while they expire, ms", both(stall, "longest"), "< 2", bars.stall),
  line("  turns of 2 ms and more", both(stall, "over")),
  line("  as Node's monitor has it, ms", both(stall, "monitor")),
  line("longest stall of an idle loop, ms", { native: idle.longest }),
  line("  turns of 2 ms and more", { native: idle.over }),
  line("  as Node's monitor has it, ms", { native: idle.monitor }),
  line("memory kept after that, %", both(stall, "kept", 100)),
];

if (json)
  console.log(JSON.stringify({ machine: machine(), rounds, growth, ratio, stall, idle, bars }, null, 2));
else console.log(`${machine()}; medians of ${rounds} rounds, each a process of its own\n\n${table(lines)}`);
finish(strict, Object.values(bars).every(Boolean));
