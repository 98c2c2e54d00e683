// Takes the place of __test__/redis-server.ts where a test cannot start a program: redis.mjs is asked to.
const url = process.env.COVARA_KV_REDIS;

/** @returns {Promise<any>} */
async function ask(what, argument) {
  const response = await fetch(`${url}/${what}`, { method: "POST", body: JSON.stringify(argument) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

exports.startRedis = async (config = {}) => {
  const { id, ...address } = await ask("start", config);
  const methods = ["kill", "restart", "pause", "resume", "stop"].map((method) => [
    method,
    () => ask("call", { id, method }),
  ]);
  return { ...address, ...Object.fromEntries(methods) };
};
