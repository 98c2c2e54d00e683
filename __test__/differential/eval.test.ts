// A script may give another reply, error text or data on a strict memory store than on Redis.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { unlike70 } from "../servers.js";
import { CALL, compareEvaluations, type Evaluation, PCALL, scriptOf } from "./evaluations.js";
import { expressions, showing } from "./lua.js";
import { anyKey, value } from "./pools.js";
import { check, runs } from "./property.js";
import { useRedis } from "./redis.js";
import { SCRIPTS } from "./scripts.js";
import { commandWords } from "./words.js";

const redis = useRedis();
/** The least number of comparisons, whatever the seed. */
const ENOUGH = 5_000;
let compared = 0;

const scripts = fc.record({
  script: fc.constantFrom(...SCRIPTS),
  keys: fc.array(anyKey, { minLength: 1, maxLength: 3 }),
  args: fc.array(value, { maxLength: 3 }),
});

const calls = fc.record({ script: fc.constantFrom(CALL, PCALL), keys: fc.constant([]), args: commandWords });

const skip = unlike70("An error in a script");
const skipCommands = skip || unlike70("A number in a script, and a score as text", "What came after 7.0");

test("scripts are as in Redis", { skip: skipCommands }, () =>
  check(sequence(scripts), runs(100), compare, scriptOf),
);

test("commands that scripts call are as in Redis", { skip: skipCommands }, () =>
  check(sequence(calls), runs(150), compare, scriptOf),
);

for (const [name, expression] of Object.entries(expressions)) {
  const evaluation = expression.map((expression) => ({ script: showing(expression), keys: [], args: [] }));
  test(`the ${name} of scripts are as in Redis`, { skip }, () =>
    check(sequence(evaluation), runs(15), compare, scriptOf),
  );
}

test("enough was compared", { skip: skipCommands }, () => {
  console.log(`${compared.toLocaleString("en")} scripts compared with Redis`);
  assert.ok(compared >= ENOUGH, `only ${compared} scripts`);
});

async function compare(evaluations: Evaluation[]): Promise<void> {
  await compareEvaluations(redis.client, evaluations);
  compared += evaluations.length;
}

function sequence(evaluation: fc.Arbitrary<Evaluation>): fc.Arbitrary<Evaluation[]> {
  return fc.array(evaluation, { maxLength: 100, size: "max" });
}
