// npm run bench:memory [-- row …] [-- --json] [-- --strict-bars]
// Operations a second of the native memory store over those of a plain Map store: see README.md.
import { child, commandLine, digits, finish, machine, mark, median, setting, table } from "./report.mjs";
import { rows } from "./rows.mjs";

const { json, strict, names } = commandLine();
const rounds = setting("BENCH_ROUNDS", 5);

/** Rounds of the row and of its peer in turn, so that other load on the machine affects both. */
async function measure({ name, bar = undefined, peer = undefined }) {
  const native = [];
  const other = [];
  for (let round = 0; round < rounds; round += 1) {
    native.push(await child("run-one.mjs", "native", name));
    other.push(await child("run-one.mjs", ...(peer === undefined ? ["map", name] : ["native", peer])));
  }
  const ratio = median(native) / median(other);
  const ratios = native.map((operations, round) => operations / other[round]);
  const result = { name, peer, native: median(native), other: median(other), ratio, ratios };
  return bar === undefined ? result : { ...result, bar, met: ratio >= bar };
}

function line({ name, peer, native, other, ratio, ratios, bar, met }) {
  const range = `${digits(Math.min(...ratios))} – ${digits(Math.max(...ratios))}`;
  return [
    peer === undefined ? name : `${name} / ${peer}`,
    digits(native),
    digits(other),
    digits(ratio),
    range,
    bar === undefined ? "" : `≥ ${digits(bar)}`,
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
    table([["row", "native ops/s", "other ops/s", "ratio", "rounds", "bar", ""], ...results.map(line)]),
  );
}
finish(
  strict,
  results.every(({ met }) => met !== false),
);
