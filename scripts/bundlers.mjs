// The package in every bundler and framework, and with every TypeScript, that docs/bundlers.md names: npm run check:bundlers
// `npm test` tries those that are quick.
import { pack } from "./package.mjs";
import { redisServer } from "./redis-server.mjs";
import { setup } from "./setup.mjs";
import { files, main, visibly } from "./steps.mjs";
import { bundlers, tools } from "./tools.mjs";

await main(import.meta.url, async () => {
  await setup();
  await redisServer();
  await pack();
  await tools();
  await bundlers();
  process.env.BUNDLERS = "all";
  const tests = files("__test__/bundlers").filter((file) => file.endsWith(".test.ts"));
  await visibly("node", "--import", "tsx", "--test", "--test-reporter=spec", ...tests);
});
