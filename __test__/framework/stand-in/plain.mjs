// The framework's own store over ioredis, with the parts that the stand-in needs: two connections, and callbacks by channel.
/** @param {new (options: object) => import("ioredis").Redis} Redis */
export function createPlainKV(Redis, { host, port }) {
  const commands = new Redis({ host, port });
  // The ready check sends INFO, which may come behind a SUBSCRIBE and is forbidden there.
  const subscriber = new Redis({ host, port, enableReadyCheck: false });
  for (const client of [commands, subscriber]) client.on("error", () => {}); // The client connects again by itself.
  const callbacks = new Map();
  subscriber.on("message", (channel, message) => {
    for (const callback of callbacks.get(channel) ?? []) callback(message, channel);
  });
  const names = ["get", "incr", "del", "expire", "hget", "hset", "hgetall", "hdel", "sadd", "smembers"];
  names.push("zadd", "zrem", "zcard", "zrange", "publish");
  const plain = names.map((name) => [name, (...args) => commands[name](...args)]);
  return {
    ...Object.fromEntries(plain),
    set: (key, value) => commands.set(key, value),
    async subscribe(channel, callback) {
      callbacks.set(channel, (callbacks.get(channel) ?? new Set()).add(callback));
      await subscriber.subscribe(channel);
    },
    async unsubscribe(channel) {
      callbacks.delete(channel);
      await subscriber.unsubscribe(channel);
    },
  };
}
