// Runs a script of this folder in a process of its own, and asks it questions.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

export class Program {
  #script;
  #child;
  #ended = new AbortController();

  constructor(script, ...args) {
    this.#script = script;
    this.#child = fork(`${here}${script}`, args, { execArgv: ["--expose-gc"] });
    this.#child.once("exit", () => this.#ended.abort());
  }

  async answer() {
    try {
      return (await once(this.#child, "message", { signal: this.#ended.signal }))[0];
    } catch (cause) {
      throw new Error(`${this.#script} ended before it had answered`, { cause });
    }
  }

  ask(question) {
    this.#child.send(question);
    return this.answer();
  }

  kill() {
    this.#child.kill("SIGKILL");
  }
}
