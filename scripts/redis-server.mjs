// The tests compare with a real Redis: the redis-server on PATH, else one from the system's packages.
import { Failure, step, versionOf } from "./steps.mjs";

export const redisServer = () =>
  step("redis-server", async (run) => {
    const missing =
      "redis-server is missing: install Redis 7 so that it is on PATH, https://redis.io/downloads";
    // The certificates of the tests with TLS are made by openssl.
    if (!versionOf("redis-server") || !versionOf("openssl")) {
      await install(run).catch((error) => {
        throw new Failure(`${missing}\n${error.message}`);
      });
    }
    const version = versionOf("redis-server");
    if (!version) throw new Failure(missing);
    return version;
  });

async function install(run) {
  if (versionOf("apt-get")) {
    const asRoot = process.getuid?.() === 0 ? [] : ["sudo"];
    const aptGet = (...args) => {
      const [command, ...rest] = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args];
      return run(command, ...rest);
    };
    await aptGet("update");
    await aptGet("install", "-y", "--no-install-recommends", "redis-server", "openssl");
  } else if (versionOf("brew")) {
    await run("brew", "install", "redis", "openssl");
  }
}
