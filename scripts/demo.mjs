// From a clone to a running feed: `npm run demo`
import { setup } from "./setup.mjs";
import { main, visibly } from "./steps.mjs";

await main(import.meta.url, async () => {
  await setup();
  console.log();
  await visibly("node", "examples/feed.mjs");
  console.log(
    "\nTwo servers, server-sent events, and Redis restarted in between (with a redis-server on PATH): node examples/live-feed/run.mjs",
  );
});
