import { type Command, commands } from "../commands.js";
import { commandIndex } from "../native.js";

const indexes = new Map(commands.map((command) => [command, commandIndex(command.name)]));

/** The number of a command in the native table. */
export function indexOf(command: Command): number {
  return indexes.get(command) as number;
}
