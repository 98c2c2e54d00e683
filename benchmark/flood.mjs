// npm run bench:flood [-- --json] [-- --strict-bars] [-- name …]
// What a process goes on doing while more comes in than it can take: see README.md.
import { startRedis } from "./redis-server.mjs";
import { child, commandLine, digits, finish, machine, mark, setting } from "./report.mjs";

const { json, strict, names } = commandLine();
const seconds = setting("BENCH_SECONDS", 5);
/** How late a timer, a request to an HTTP server and a call of another store may be, in ms. */
const BAR = 50;

const ways = ["subscribe", "psubscribe", "listen", "fan-out", "fan-out between threads", "shared memory"];
const rows = [
  { way: "nothing", work: 0 },
  ...ways.flatMap((way) => [2, 50].map((work) => ({ way, work }))),
  { way: "callers of GET", work: 0 },
  { way: "callers of MGET", work: 0 },
].filter(({ way }) => names.length === 0 || names.some((name) => way.includes(name)));

const columns = [24, 11, 10, 9, 9, 9, 12, 7, 6, 11, 6, 2];
const line = (cells) =>
  cells
    .map((cell, n) => (n === 0 ? String(cell).padEnd(columns[n]) : String(cell).padStart(columns[n])))
    .join("");

const [flooded, other] = [await startRedis(), await startRedis()];
try {
  if (!json) {
    console.log(`${machine()}, ${seconds} s each. Late by at most, in ms (bar: ${BAR})\n`);
    console.log(
      line([
        "",
        "µs of work",
        "a second",
        "timer",
        "of CPU",
        "HTTP",
        "other store",
        "JS µs",
        "gaps",
        "disordered",
        "MB",
        "",
      ]),
    );
  }
  const results = [];
  for (const { way, work } of rows) {
    const args = [flooded.port, other.port, way, work, seconds * 1_000];
    const one = await child("flood-one.mjs", ...args.map(String));
    // A request that was never answered counts as late for ever.
    one.http ??= Number.POSITIVE_INFINITY;
    const met = Math.max(one.timer, one.http, one.store) <= BAR && one.disordered === 0;
    results.push({ ...one, met });
    if (json) continue;
    const times = [one.timer, one.turn, one.http, one.store].map(digits);
    const rate = Math.round(one.perSecond).toLocaleString("en");
    console.log(
      line([
        way,
        work,
        rate,
        ...times,
        digits(one.jsEach),
        one.gaps,
        one.disordered,
        Math.round(one.rss),
        mark(met),
      ]),
    );
  }
  const allMet = results.every(({ met }) => met);
  if (json) console.log(JSON.stringify({ machine: machine(), seconds, results, allMet }, null, 2));
  finish(strict, allMet);
} finally {
  flooded.stop();
  other.stop();
}
