// Compares Redis clients row by row: rounds in turn, medians, and our figures over the best of the others.
import { digits, mark, median, table } from "./report.mjs";

const OURS = "covara-kv";

/** The bars of benchmark/README.md, over the best of the other clients. */
function barsOf({ callers, callbacks }) {
  if (callbacks !== undefined) return callbacks === 1 ? { js: 0.5 } : {};
  if (callers === 1) return { operations: 1, p99: 1 };
  return callers < 256 ? { operations: 1.5 } : { operations: 2, js: 0.5 };
}

/** Rounds of all clients in turn, so that other load on the machine affects all. */
export async function measure(row, clients, rounds, measureOnce) {
  const results = Object.fromEntries(clients.map((client) => [client, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const client of clients) results[client].push(await measureOnce(client));
  }
  const middle = (list) =>
    Object.fromEntries(
      Object.keys(list[0]).map((figure) => [figure, median(list.map((one) => one[figure]))]),
    );
  /** @type {any} */
  const medians = Object.fromEntries(Object.entries(results).map(([client, list]) => [client, middle(list)]));
  return { name: row.name, medians, verdicts: verdicts(row, medians) };
}

/** Our figure over the best of the others, for each bar. */
function verdicts(row, { [OURS]: ours, ...others }) {
  if (ours === undefined) return [];
  return Object.entries(barsOf(row)).map(([figure, bar]) => {
    const more = figure === "operations";
    const best = (more ? Math.max : Math.min)(...Object.values(others).map((other) => other[figure]));
    const ratio = ours[figure] / best;
    return { figure, bar, ratio, met: more ? ratio >= bar : ratio <= bar };
  });
}

export function show({ name, medians, verdicts }) {
  const lines = Object.entries(medians).map(([client, { operations, p50, p99, js, process }]) => [
    `  ${client}`,
    Math.round(operations).toLocaleString("en"),
    p50 === undefined ? "" : digits(p50),
    p99 === undefined ? "" : digits(p99),
    digits(js),
    digits(process),
  ]);
  console.log(table([[name, "a second", "p50 µs", "p99 µs", "JS µs", "process µs"], ...lines]));
  const words = { operations: "operations", p99: "p99", js: "JS thread" };
  for (const { figure, bar, ratio, met } of verdicts) {
    const sign = figure === "operations" ? "≥" : "≤";
    console.log(`  ${mark(met)} ${words[figure]} ${digits(ratio)} of the best other (bar ${sign} ${bar})`);
  }
  console.log();
}
