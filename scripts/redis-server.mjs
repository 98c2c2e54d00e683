// The tests compare with a real Redis: the redis-server on PATH, else one from the system's packages.
import { Failure, step, versionOf } from "./steps.mjs";

export const redisServer = () =>
  step("redis-server", async (run) => {
    const missing =
      "redis-server is missing: install Redis 7 so that it is on PATH, https://redis.io/downloads";
    if (commands.some(([command, ...words]) => !versionOf(command, ...words))) {
      await install(run).catch((error) => {
        throw new Failure(`${missing}\n${error.message}`);
      });
    }
    const version = versionOf("redis-server");
    if (!version) throw new Failure(missing);
    return version;
  });

/**
 * openssl makes the certificates of the tests with TLS; a test of a network that loses packets needs iptables, and ip, which comes with ss
 * and cannot say its version.
 */
const commands = [["redis-server"], ["openssl", "version"]];
if (process.platform === "linux") commands.push(["iptables"], ["ss"]);

async function install(run) {
  if (versionOf("apt-get")) {
    const asRoot = process.getuid?.() === 0 ? [] : ["sudo"];
    const aptGet = (...args) => {
      const [command, ...rest] = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args];
      return run(command, ...rest);
    };
    await aptGet("update");
    await aptGet(
      "install",
      "-y",
      "--no-install-recommends",
      "redis-server",
      "openssl",
      "iptables",
      "iproute2",
    );
  } else if (versionOf("apk")) {
    await run("apk", "add", "redis", "openssl", "iptables", "iproute2-ss");
  } else if (versionOf("brew")) {
    await run("brew", "install", "redis", "openssl");
  }
}
