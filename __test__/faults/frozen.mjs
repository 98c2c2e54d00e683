// A program that writes once for each message from its parent, and sends back the outcome.
import { createKV } from "covara-kv";

const kv = await createKV({ type: "redis", redis: JSON.parse(process.argv[2]) });
process.on("message", async () => process.send(await kv.incr("n").catch((error) => error.message)));
process.send("ready");
