// A server that greets as Redis does, keeps what it is sent, and answers what each test makes it answer.
import { listen, type Peer } from "./servers.js";

export type Words = readonly string[];

export interface Fake extends Peer {
  /** The greetings, as the commands of each. */
  readonly greetings: readonly (readonly Words[])[];
  /** The chunks that came in after the greeting, as the commands in each. A command that is cut in two throws. */
  readonly chunks: readonly (readonly Words[])[];
}

type Answer = (words: Words) => string | undefined;

const greeting: Record<string, Answer> = {
  HELLO: () => "%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n",
  CLIENT: () => "+OK\r\n",
  SELECT: () => "+OK\r\n",
  AUTH: () => "+OK\r\n",
  PING: () => "+PONG\r\n",
  ROLE: () => "*1\r\n$6\r\nmaster\r\n",
  INFO: () => "$0\r\n\r\n",
};

/** `answer` gives the reply to a command, in RESP; nothing for none. `greets` does so while it greets, where it does otherwise. */
export async function fakeRedis(answer: Answer, greets: Record<string, Answer> = {}): Promise<Fake> {
  const greetings: Words[][] = [];
  const chunks: Words[][] = [];
  const answers = { ...greeting, ...greets };
  const peer = await listen((socket) => {
    socket.on("data", (chunk) => {
      const commands = commandsOf(chunk);
      const greets = commands.every(([name = ""]) => name in answers);
      (greets ? greetings : chunks).push(commands);
      const reply = (words: Words) => (greets ? answers[words[0] as string]?.(words) : answer(words)) ?? "";
      socket.write(commands.map(reply).join(""));
    });
  });
  return Object.defineProperties(peer, {
    greetings: { value: greetings },
    chunks: { value: chunks },
  }) as Fake;
}

/** The commands of a chunk, which must hold whole ones. */
export function commandsOf(chunk: Buffer): string[][] {
  const commands: string[][] = [];
  let at = 0;
  const header = (kind: string) => {
    const end = chunk.indexOf("\r\n", at);
    const line = chunk.toString("latin1", at, end);
    if (end < 0 || line[0] !== kind)
      throw new Error(`no whole command: ${chunk.toString("latin1", at, at + 40)}`);
    at = end + 2;
    return Number(line.slice(1));
  };
  while (at < chunk.length) {
    commands.push(
      Array.from({ length: header("*") }, () => {
        const size = header("$");
        at += size + 2;
        if (at > chunk.length) throw new Error("the last command is not whole");
        return chunk.toString("utf8", at - size - 2, at - 2);
      }),
    );
  }
  return commands;
}
