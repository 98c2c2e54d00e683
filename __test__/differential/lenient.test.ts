// A lenient store may answer differently from Redis where no key has another type, or fail where one has. It must warn and go on.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { KVStore } from "covara-kv";
import { localStores } from "./local.js";
import { equal, type Outcome } from "./outcome.js";
import { check, runs } from "./property.js";
import { EXACT, useRedis } from "./redis.js";
import { literal, type Step, sequences, source } from "./steps.js";
import { runOnRedis, runStep } from "./stores.js";

const RUNS = 50;

const redis = useRedis(EXACT);

for (const [name, open] of Object.entries(localStores)) {
  for (const [family, sequence] of Object.entries(sequences)) {
    test(`${family}: ${name} as Redis, without WRONGTYPE`, (t) => {
      const warnings = wrongTypeWarnings(t);
      return check(sequence, runs(RUNS), (steps) => compare(open(""), steps, warnings), script);
    });
  }
}

/** Collects the texts of the warnings about keys of another type, and keeps them from being printed. */
function wrongTypeWarnings(t: TestContext): string[] {
  const texts: string[] = [];
  t.mock.method(process, "emitWarning", (text: string, { code }: { code: string }) => {
    assert.equal(code, "COVARA_KV_WRONGTYPE", text);
    texts.push(text);
  });
  return texts;
}

async function compare(kv: KVStore, steps: Step[], warnings: string[]): Promise<void> {
  const { outcomes } = await runOnRedis(redis.client, steps);
  warnings.length = 0;
  let collided = false;
  for (const [index, step] of steps.entries()) {
    const outcome = await runStep(kv, step);
    const expected = outcomes[index] as Outcome;
    assert.ok(!isWrongType(outcome), `${source(step)} is refused: ${literal(outcome)}`);
    if (!collided && isWrongType(expected)) {
      assert.notEqual(warnings.length, 0, `${source(step)} does not warn`);
      collided = true;
    }
    if (collided) continue;
    assert.ok(
      equal(step, outcome, expected),
      `${source(step)}: ${literal(outcome)}, in Redis ${literal(expected)}`,
    );
    assert.deepEqual(warnings, [], `${source(step)} warns`);
  }
  assert.equal(new Set(warnings).size, warnings.length, `a warning is given twice: ${literal(warnings)}`);
  await kv.disconnect();
}

function isWrongType(outcome: Outcome): boolean {
  return literal(outcome).includes('"WRONGTYPE');
}

const script = (steps: Step[]) => ["const kv = createMemoryKV();", ...steps.map(source)].join("\n");
