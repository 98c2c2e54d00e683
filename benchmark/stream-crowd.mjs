// The other instances: `node stream-crowd.mjs port instances channels`, forked by streams.mjs. Each is a plain socket that subscribes the
// channel of the fleet, and with `targeted` those of its streams.
import { once } from "node:events";
import { connect } from "node:net";
import { EVENTS, namesOf } from "./stream-world.mjs";

const [port, instances] = process.argv.slice(2, 4).map(Number);
const isTargeted = process.argv[4] === "targeted";

for (let instance = 1; instance < instances; instance += 1) {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const own = isTargeted ? namesOf(instance).map((name) => `${EVENTS}:${name}`) : [];
  socket.write(`SUBSCRIBE ${[EVENTS, ...own].join(" ")}\r\n`);
  await once(socket, "data");
  socket.resume();
}
process.send?.("ready");
