// A server that answers the handshake as Redis does, and everything after it as a test says.
import type { Socket } from "node:net";
import { HOST, listen } from "./sockets.js";

export interface Peer {
  /** The connection's number, in the order of connecting, from 0. */
  readonly index: number;
  readonly socket: Socket;
  /** Every command that came in, the handshake included. */
  readonly commands: string[][];
  /** The commands after the handshake, grouped by the chunk of bytes in which they arrived. */
  readonly chunks: string[][][];
  send(bytes: string | Buffer): void;
}

/** Gives the bytes to send for a command, or undefined to send nothing. */
export type Answer = (command: string[], peer: Peer) => string | Buffer | undefined;

export interface FakeServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly peers: readonly Peer[];
  /** The commands of all connections. */
  readonly commands: readonly (readonly string[])[];
  readonly chunks: readonly (readonly (readonly string[])[])[];
  /** How often a command came in, over all connections. */
  count(name: string): number;
  /** Sends the same bytes on every connection. */
  send(bytes: string): void;
  stop(): Promise<void>;
}

export const OK = "+OK\r\n";

export const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/** The confirmation of SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE and PUNSUBSCRIBE. */
export const confirmation = ([name = "", topic = ""]: string[]) =>
  `>3\r\n${bulk(name.toLowerCase())}${bulk(topic)}:1\r\n`;

export const message = (channel: string, text: string) =>
  `>3\r\n${bulk("message")}${bulk(channel)}${bulk(text)}`;

/** The answers of a healthy server to the handshake. */
export const answerHandshake: Answer = ([name]) => {
  switch (name?.toUpperCase()) {
    case "HELLO":
      return `%2\r\n${bulk("proto")}:3\r\n${bulk("role")}${bulk("master")}`;
    case "AUTH":
    case "CLIENT":
    case "SELECT":
      return OK;
    case "ROLE":
      return `*1\r\n${bulk("master")}`;
    case "PING":
      return "+PONG\r\n";
    case "INFO":
      return bulk("");
    default:
      return undefined;
  }
};

export interface FakeOptions {
  /** The address it listens on; 127.0.0.1 by default. */
  host?: string;
  /** The answers to all commands after the handshake. By default it gives none. */
  answer?: Answer;
  /** The answers to the handshake, in place of a healthy server's. */
  handshake?: Answer;
  /** Called as soon as a connection is accepted. */
  accepted?: (peer: Peer) => void;
}

const HANDSHAKE = new Set(["HELLO", "AUTH", "CLIENT", "SELECT", "ROLE", "INFO", "PING"]);

const isHandshake = ([name = ""]: string[]) => HANDSHAKE.has(name.toUpperCase());

export async function startFake({
  host = HOST,
  answer,
  handshake = answerHandshake,
  accepted,
}: FakeOptions): Promise<FakeServer> {
  const peers: Peer[] = [];
  const onConnection = (socket: Socket) => {
    const peer = peerOf(socket, peers.length);
    peers.push(peer);
    socket.setNoDelay(true);
    accepted?.(peer);
    serve(peer, (command) => (isHandshake(command) ? handshake : answer)?.(command, peer));
  };
  const listener = await listen(onConnection, { host });
  const stop = async () => listener[Symbol.asyncDispose]();
  const commands = () => peers.flatMap((peer) => peer.commands);
  return {
    host,
    port: listener.port,
    peers,
    get commands() {
      return commands();
    },
    get chunks() {
      return peers.flatMap((peer) => peer.chunks);
    },
    count: (name) => commands().filter(([first]) => first === name).length,
    send(bytes) {
      for (const peer of peers) peer.send(bytes);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function peerOf(socket: Socket, index: number): Peer {
  return {
    index,
    socket,
    commands: [],
    chunks: [],
    send: (bytes) => void (socket.writable && socket.write(bytes)),
  };
}

/** Notes and answers what comes on a connection. */
function serve({ socket, commands, chunks, send }: Peer, answer: (command: string[]) => ReturnType<Answer>) {
  let received: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    const { commands: came, length } = commandsOf(received);
    received = received.subarray(length);
    commands.push(...came);
    const calls = came.filter((command) => !isHandshake(command));
    if (calls.length > 0) chunks.push(calls);
    for (const command of came) {
      const bytes = answer(command);
      if (bytes !== undefined) send(bytes);
    }
  });
}

/** The complete commands at the start of the bytes, and the length of these commands in bytes. */
export function commandsOf(bytes: Buffer): { commands: string[][]; length: number } {
  const commands: string[][] = [];
  let length = 0;
  for (let read = firstCommand(bytes); read !== undefined; read = firstCommand(bytes.subarray(length))) {
    commands.push(read.command);
    length += read.length;
  }
  return { commands, length };
}

/** The command at the start of the bytes, if it is complete. */
function firstCommand(bytes: Buffer): { command: string[]; length: number } | undefined {
  let at = 0;
  const number = () => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const value = Number(bytes.toString("latin1", at + 1, end));
    at = end + 2;
    return value;
  };
  const words = number();
  if (words === undefined) return undefined;
  const command: string[] = [];
  while (command.length < words) {
    const size = number();
    if (size === undefined || bytes.length < at + size + 2) return undefined;
    command.push(bytes.toString("utf8", at, at + size));
    at += size + 2;
  }
  return { command, length: at };
}
