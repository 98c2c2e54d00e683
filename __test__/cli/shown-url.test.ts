// What a command shows of a URL. A person looks there for a mistake, and others read it over the shoulder.
import assert from "node:assert/strict";
import { test } from "node:test";
import { storeOf } from "../../ts/cli/store.js";

const SECRET = "hunter2-s3cret";

// The name of the host is in the protocol as well: with the wrong one replaced, `doctor` shows no such URL, and says that there is no TLS.
test("a URL of Sentinels is shown as it is, without the password", async () => {
  for (const [url, shown] of Object.entries({
    "rediss+sentinel://redis/mymaster": "rediss+sentinel://redis/mymaster",
    "redis+sentinel://redis:1,s:2/m": "redis+sentinel://redis:1,s:2/m",
    [`redis+sentinel://redis:${SECRET}@redis/m/1`]: "redis+sentinel://redis:***@redis/m/1",
    [`rediss+sentinel://:${SECRET}@s/m?sentinelPassword=${SECRET}`]: "rediss+sentinel://:***@s/m",
  })) {
    const [kv, target] = storeOf({ url }, { version: "" });
    assert.equal(target.url, shown);
    await kv.disconnect();
  }
});
