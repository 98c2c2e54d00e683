// The requests of a store: which commands leave together, and in what order.

import type { Command } from "../../commands.js";
import { KVError, warnOfWrongType } from "../../errors.js";
import { clearTimeout, setTimeout } from "../../timers.js";
import type { Ready } from "../../transaction.js";
import type { DurableObjectStubLike } from "./types.js";
import { batchRequest, type Outcome, readBatchResponse, unreachable, type WireRequest } from "./wire.js";
import { within } from "./within.js";

/** The most commands of one request. */
const MAX_BATCH = 1_000;

/** How long `disconnect` and held requests wait for the next answer, in ms. A request of a Worker that has ended is never answered. */
export const TIMEOUT = 5_000;

/** How long the answer to a request may take, in ms. */
const ANSWER_TIMEOUT = 30_000;

/** The most text of one request, in UTF-16 code units. */
const MAX_TEXT = 4 << 20;

type ReadyCall = Ready<unknown[]>;

/** A call that waits for its request. */
interface WaitingCall extends ReadyCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Sends commands to the object. Those of one tick leave in one request. */
export class Requests {
  readonly #stub: () => DurableObjectStubLike;
  readonly #strict: boolean;
  #batch: WaitingCall[] = [];
  /** The request that the batch must follow. */
  #before: Promise<unknown> | undefined;
  /** What later commands must follow: a transaction of this tick, or what is held back until earlier requests are answered. Never rejects. */
  #last: Promise<unknown> | undefined;
  /** Unanswered requests. None rejects. */
  readonly #requests = new Set<Promise<unknown>>();
  /** The number of answered requests. */
  #answered = 0;
  /** Commands that have met a key of another type. Each gets one warning. */
  readonly #mismatched = new Set<string>();
  constructor(stub: () => DurableObjectStubLike, strict: boolean) {
    this.#stub = stub;
    this.#strict = strict;
  }

  /** Adds a command to the request of this tick. Resolves to its value. */
  add(command: Command, argv: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const batch = this.#batch;
      if (batch.length === 0) {
        this.#before = this.#last;
        // Unless a transaction has sent the batch already.
        afterThis(() => batch === this.#batch && this.flush());
      }
      batch.push({ command, argv, resolve, reject });
    });
  }

  /** Sends a transaction. Resolves to the value or the error of each call. */
  runAll(calls: readonly ReadyCall[]): Promise<unknown[]> {
    const before = this.#batch.length > 0 ? this.flush() : this.#last;
    const run = this.#after(before, () => this.#request(calls));
    if (before === undefined) {
      this.#follow(
        run.catch(() => {}),
        Promise.resolve(),
      );
    }
    return this.#tracked(run);
  }

  /** Sends the commands of this tick. Never rejects. */
  flush(): Promise<void> {
    const [batch, before] = [this.#batch, this.#before];
    this.#batch = [];
    const chunks = chunksOf(batch);
    const sent = this.#tracked(this.#after(before, () => this.#sendInOrder(chunks)));
    if (chunks.length > 1) this.#follow(sent, sent);
    return sent;
  }

  /** Sends a request, or holds it and all later ones back until `before` is answered. */
  #after<T>(before: Promise<unknown> | undefined, send: () => Promise<T>): Promise<T> {
    if (before === undefined) return send();
    const turn = within(TIMEOUT, before);
    const run = turn.then(send);
    this.#follow(
      run.catch(() => {}),
      turn,
    );
    return run;
  }

  /** Has later commands follow the answer to a request, until a moment. */
  #follow(answered: Promise<unknown>, until: Promise<unknown>): void {
    this.#last = answered;
    void until.then(() => {
      if (this.#last === answered) this.#last = undefined;
    });
  }

  #tracked<T>(request: Promise<T>): Promise<T> {
    const tracked: Promise<unknown> = request.catch(() => {}).then(() => this.#requests.delete(tracked));
    this.#requests.add(tracked);
    return request;
  }

  /** Each request waits for the previous answer: requests by different stubs may overtake each other. */
  async #sendInOrder(chunks: readonly WaitingCall[][]): Promise<void> {
    for (const chunk of chunks) await this.#sendBatch(chunk);
  }

  async #sendBatch(batch: readonly WaitingCall[]): Promise<void> {
    try {
      const answers = await this.#request(batch);
      for (const [i, { resolve, reject }] of batch.entries()) {
        const answer = answers[i];
        if (answer instanceof KVError) reject(answer);
        else resolve(answer);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  /** Waits for unanswered requests, while answers arrive: requests of a Worker that has ended are never answered. */
  async allAnswered(): Promise<void> {
    let before: number;
    do {
      before = this.#answered;
      await within(TIMEOUT, Promise.all(this.#requests));
    } while (this.#requests.size > 0 && this.#answered > before);
  }

  /** The value of each call, or its error. */
  async #request(calls: readonly ReadyCall[]): Promise<unknown[]> {
    const commands = calls.map(({ command }) => command);
    const request = batchRequest(calls, this.#strict);
    const answer = async () => readBatchResponse(await this.#fetch(request), commands);
    const outcomes = await answered(answer());
    this.#answered += 1;
    return outcomes.map((outcome, i) => this.#answerOf(outcome, (commands[i] as Command).name));
  }

  #answerOf(outcome: Outcome, command: string): unknown {
    if ("error" in outcome) return outcome.error;
    if (outcome.mismatched && !this.#mismatched.has(command)) {
      this.#mismatched.add(command);
      warnOfWrongType(command);
    }
    return outcome.value;
  }

  /** Sends one request, whose answer has its time. */
  fetch(request: WireRequest): Promise<Response> {
    return answered(this.#fetch(request));
  }

  async #fetch({ url, init }: WireRequest): Promise<Response> {
    try {
      return await this.#stub().fetch(url, init);
    } catch (cause) {
      throw unreachable("could not be reached", cause);
    }
  }
}

/** The calls of each request: not too many, and with not too much text for the memory of a Worker. */
function chunksOf(batch: readonly WaitingCall[]): WaitingCall[][] {
  const chunks: WaitingCall[][] = [];
  let chunk: WaitingCall[] = [];
  let text = 0;
  for (const call of batch) {
    const length = call.argv.reduce<number>(
      (sum, arg) => sum + (typeof arg === "string" ? arg.length : 0),
      0,
    );
    if (chunk.length === MAX_BATCH || (chunk.length > 0 && text + length > MAX_TEXT)) {
      chunks.push(chunk);
      [chunk, text] = [[], 0];
    }
    chunk.push(call);
    text += length;
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}

/** The answer to a request, in its time. */
async function answered<T>(answer: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `The Durable Object did not answer within ${ANSWER_TIMEOUT} ms: the command may have been run or not`;
    timer = setTimeout(
      () => reject(new KVError("TIMEOUT", message, { reason: "command-timeout" })),
      ANSWER_TIMEOUT,
    );
    // Node.js waits for the request itself. A Worker's timers are numbers.
    (timer as { unref?: () => void }).unref?.();
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/** The same as `queueMicrotask`, which fake timers replace. */
const afterThis = (task: () => unknown) => void Promise.resolve().then(task);
