// npm run bench:memory [-- row …] [-- --json] [-- --strict-bars]
// Operations a second of the native memory store over those of a plain Map store: see README.md.
import { child, commandLine, digits, finish, machine, mark, median, setting, table } from "./report.mjs";
import { rows } from "./rows.mjs";

const { json, strict, names } = commandLine();
const rounds = setting("BENCH_ROUNDS", 5);

/** Rounds of both stores in turn, so that what else the machine does meets both. */
async function measure({ name, bar = undefined }) {
  const native = [];
  const map = [];
  for (let round = 0; round < rounds; round += 1) {
    native.push(await child("run-one.mjs", "native", name));
    map.push(await child("run-one.mjs", "map", name));
  }
  const ratio = median(native) / median(map);
  const ratios = native.map((operations, round) => operations / map[round]);
  const result = { name, native: median(native), map: median(map), ratio, ratios };
  return bar === undefined ? result : { ...result, bar, met: ratio >= bar };
}

function line({ name, native, map, ratio, ratios, bar, met }) {
  const range = `${digits(Math.min(...ratios))} – ${digits(Math.max(...ratios))}`;
  return [
    name,
    digits(native),
    digits(map),
    digits(ratio),
    range,
    bar === undefined ? "" : `≥ ${bar}`,
    mark(met),
  ];
}

const unknown = names.filter((name) => !rows.some((row) => row.name === name));
if (unknown.length > 0) {
  throw new Error(`No row ${unknown.join(", ")}: there are ${rows.map(({ name }) => name).join(", ")}`);
}

const results = [];
for (const row of rows) {
  if (names.length > 0 && !names.includes(row.name)) continue;
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${row.name} …`);
  results.push(await measure(row));
}
if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");

if (json) console.log(JSON.stringify({ machine: machine(), rounds, rows: results }, null, 2));
else {
  console.log(`${machine()}; medians of ${rounds} interleaved rounds\n`);
  console.log(
    table([["row", "native ops/s", "map ops/s", "ratio", "rounds", "bar", ""], ...results.map(line)]),
  );
}
finish(
  strict,
  results.every(({ met }) => met !== false),
);
