import type { CommandMethod } from "./commands.js";
import { decode, isError, KVError } from "./errors.js";

/** Whether a reply is of a shape: what is in the way of a command, or takes a server's place, may answer anything. */
type Shape = (reply: unknown) => boolean;

const text: Shape = (reply) => typeof reply === "string";
const textOrNil: Shape = (reply) => typeof reply === "string" || reply === null;
const number: Shape = (reply) => typeof reply === "number";
const numeric: Shape = (reply) => typeof reply === "string" || typeof reply === "number";
const numericOrNil: Shape = (reply) => reply === null || numeric(reply);
/** A loop, as it looks at every item that a server gives. */
const texts: Shape = (reply) => {
  if (!Array.isArray(reply)) return false;
  for (let i = 0; i < reply.length; i++) if (typeof reply[i] !== "string") return false;
  return true;
};
const textsOrNils: Shape = (reply) => Array.isArray(reply) && reply.every(textOrNil);
const pairs: Shape = (reply) => texts(reply) && (reply as string[]).length % 2 === 0;
const page: Shape = (reply) =>
  Array.isArray(reply) && reply.length === 2 && text(reply[0]) && texts(reply[1]);
const anything: Shape = () => true;

export const shapes: Record<CommandMethod, Shape> = {
  ping: text,
  get: textOrNil,
  mget: textsOrNils,
  set: textOrNil,
  setnx: textOrNil,
  getdel: textOrNil,
  incr: number,
  incrBy: number,
  decr: number,
  del: number,
  exists: number,
  expire: number,
  ttl: number,
  type: text,
  keys: texts,
  scan: page,
  hget: textOrNil,
  hset: number,
  hmset: number,
  hgetall: pairs,
  hdel: number,
  hexists: number,
  hkeys: texts,
  hlen: number,
  sadd: number,
  srem: number,
  smembers: texts,
  sismember: number,
  scard: number,
  lpush: number,
  rpush: number,
  lpop: textOrNil,
  rpop: textOrNil,
  lrange: texts,
  llen: number,
  ltrim: text,
  zadd: number,
  zrem: number,
  zscore: numericOrNil,
  zrange: texts,
  zrangebyscore: texts,
  zcard: number,
  zincrby: numeric,
  publish: number,
  eval: anything,
};

/** What is wrong with a reply of another shape: the error that it holds, or that it is none. */
export function misshapen(command: string, reply: unknown): unknown {
  const error = errorIn(reply);
  if (error !== undefined) return decode(error, command);
  return new KVError("CONNECTION", "The server's reply is none that the command has", {
    reason: "protocol",
    command,
  });
}

function errorIn(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(errorIn).find((error) => error !== undefined);
  return isError(reply) ? reply : undefined;
}
