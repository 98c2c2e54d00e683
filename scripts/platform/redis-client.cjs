// Takes the place of __test__/redis-server.ts where a test cannot start a program: redis.mjs is asked to.
const { once } = require("node:events");
const { request } = require("node:http");

/** @returns {Promise<any>} */
async function ask(what, argument) {
  // `fetch` fails under Wine.
  const asking = request(`${process.env.COVARA_KV_REDIS}/${what}`, { method: "POST" });
  asking.end(JSON.stringify(argument));
  const [response] = await once(asking, "response");
  const chunks = await response.toArray();
  const text = Buffer.concat(chunks).toString();
  if (response.statusCode !== 200) throw new Error(text);
  return JSON.parse(text);
}

exports.startRedis = async (config = {}, ...args) => {
  const { id, ...address } = await ask("start", { config, args });
  const methods = ["kill", "restart", "pause", "resume", "stop"].map((method) => [
    method,
    () => ask("call", { id, method }),
  ]);
  return { ...address, ...Object.fromEntries(methods) };
};

exports.freePort = async () => (await ask("port", {})).port;

exports.software = () => JSON.parse(process.env.COVARA_KV_REDIS_SOFTWARE);
