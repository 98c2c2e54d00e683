// Generated from src/addon by `npm run build:native`. What stands before the first class comes from src/addon/types.d.ts.

/** A reply, in the shapes of RESP. Doubles arrive as numbers, infinite ones too. */
export type Reply = string | number | null | Reply[];

/** One word of a command, as Redis has it in its argv. */
export type Argument = string | number;

/** The words of a command after its name. A very long list is one array: spread, it overflows the stack. */
export type Arguments = Argument[] | [argv: Argument[]];

/** Runs the command of a row. Throws an Error with Redis's text and its first word as `code`. */
export type Run = (command: number, ...args: Arguments) => Reply;

/** Count of dropped messages, or null if more wait; then pattern or null, channel and message of each. */
export type Messages = [dropped: number | null, ...messages: (string | null)[]];

/** Makes an array of items, or adds them to one. */
export type Collect = (array: Reply[] | undefined, ...items: Reply[]) => Reply[];

export declare class FanoutThread {
  /** `onItems` is called when `take` or `notices` has something. */
  constructor(onItems: () => void, collect: Collect)
  /** Returns the token of the handler that it replaces, if that is of this thread. */
  register(handler: string, token: number): number | null
  /** Returns the token of the handler, if it was of this thread. With `token`, removes the handler only if it has that token. */
  unregister(handler: string, token?: number | undefined | null): number | null
  /** 0 if this process has no such handler; 2 the first time in this process that another handler loses a subscription; else 1. */
  track(handler: string, subscription: string): 0 | 1 | 2
  untrack(subscription: string): void
  /** 0 if this process has no handler for it, 1 if another thread has it, 2 if this thread has it, and can take the event. */
  publish(subscription: string, event: string): 0 | 1 | 2
  watch(resource: string, token: number): void
  unwatch(resource: string, token: number): void
  /** Calls the watchers of other threads with the same source. */
  notify(resource: string): void
  /**
   * Expects the echo of a change that is about to be published, to drop it. Returns the argument of `cancelEcho`, or null if no echo
   * will come.
   */
  expectEcho(resource: string): number | null
  /** Stops expecting the echo: the change may not have been published. */
  cancelEcho(resource: string, expected: number): void
  /** Subscribes at a Redis server while there are handlers or watchers. */
  attach(client: RedisClient): void
  /** Drops the expected echoes: the channel has been unsubscribed. */
  clearEchoes(): void
  /** Requests subscriptions again that were refused. */
  retry(): void
  /** Ends the subscriptions. */
  detach(): void
  /** Whether a channel of the server is wanted, and whether it is live. */
  hears(aggregate: boolean): Hears
  /** Answers `id` once a wanted channel is live. */
  confirm(id: number, aggregate: boolean): void
  /** Takes a message that JavaScript has received. */
  hear(channel: string, message: string): void
  /** Reports that messages may have been missed between two times, in ms since the epoch. */
  missed(from: number, to: number): void
  /** Whether the thread waits for events, which keeps the process alive. */
  keepAlive(isWaiting: boolean): void
  /**
   * Takes at most `count` items, each three values: token of the handler, subscription, event; for a change token of the watcher, null,
   * null. If there are `count`, the caller must call again: `onItems` does not tell of more.
   */
  take(count: number): (number | string | null)[]
  /** The number of items that wait. */
  waiting(): number
  notices(): Array<FanoutNotice>
  streams(): Array<NativeStreamStats>
  handlerCount(): number
  watcherCount(resource?: string | undefined | null): number
  stats(): NativeFanoutStats
}

export declare class MemoryStore {
  constructor(options: MemoryStoreOptions, onWrongType: (command: string) => void, onMessages: () => void, collect: Collect)
  /** The function that runs a command, by its number and its words. */
  runner(): Run
  /** The same by a test's clock, in milliseconds since the epoch. */
  runnerOnClock(): (clock: number, command: number, ...args: Arguments) => Reply
  /**
   * Runs commands as one. The result of a command that fails is its Error. `clock` is a test's, in milliseconds since the
   * epoch.
   */
  exec(commands: [command: number, ...args: Argument[]][], clock?: number | undefined | null): (Reply | Error)[]
  subscribe(channel: string): void
  psubscribe(pattern: string): void
  unsubscribe(channel: string): void
  punsubscribe(pattern: string): void
  /**
   * At most so many of the messages that came in: pattern or null, channel, message, and so on. First of all since when messages were
   * dropped for want of room, in ms since the epoch, or 0; null if more wait: then the caller must come again.
   */
  takeMessages(count: number): Messages
  /** The number of messages that wait. */
  waiting(): number
  /** Closes the handle. The store ends with its last handle. */
  close(): void
}

export declare class RedisClient {
  /**
   * Opens nothing yet. `on_completions` runs when there is something to `take`. `on_question` runs before a connection that needs a value from
   * a function of the application. `answer` takes its number.
   */
  constructor(options: RedisOptions, onCompletions: () => void, collect: Collect, onQuestion?: (number: number, ofSentinels: boolean, what: "credentials" | "address" | "servername", host: string | null | undefined, port: number | null | undefined) => void)
  /**
   * A client that subscribes for the framework's callbacks, and does nothing else. It has the same configuration, and asks the same
   * functions: the answers are for this one.
   */
  forStreams(onCompletions: () => void, collect: Collect): RedisClient
  /** The function that sends a batch of commands. */
  sender(): (first: number, ...entries: unknown[]) => void
  /** Opens the connection, and opens it again whenever it is lost. */
  start(): void
  /** Answers a question. */
  answer(number: number, answer: RedisAnswer): void
  /** Answers `id` once connected, or after `maxRetries` failed attempts. */
  connect(id: number): void
  /** The server, or null while there is no connection. */
  server(): RedisServer | null
  /** Whether it is a cluster; null of one server that has said nothing yet. */
  isCluster(): boolean | null
  /** The state of each connection for commands, then of the subscribing ones. */
  health(): Array<RedisHealth>
  /** What each Sentinel says, while they are watched. */
  sentinels(): Array<RedisSentinel>
  /**
   * Answers `id` with what a node of a cluster says: its version, its role, the microseconds of a round trip, and the reply to a
   * command. `is_told`: nodes tell this address.
   */
  askNode(id: number, node: RedisNode, isTold: boolean, command: Array<string>): void
  /** Answers `id` once messages come. */
  subscribe(id: number, isPattern: boolean, name: string): void
  /** Answers `id` once the subscription has ended. */
  unsubscribe(id: number, isPattern: boolean, name: string): void
  /** Starts or stops the messages for the framework's callbacks on the channel of events. */
  hearStreams(hearing: boolean): void
  /** What must be read again after a gap: subscriptions of this process, and resources with changes. */
  streams(): StreamNames
  /** Whether the store has subscriptions, which keep the process alive. */
  keepAlive(isSubscribed: boolean): void
  /**
   * Settles at most `count` answers, with `settle(first id, ...replies)` or `settle(-1, id, reply, …)`. A failure is an Error. Returns
   * 1 if messages or events wait and 2 if answers are left, added. While answers are left, call it again.
   */
  take(settle: (first: number, ...replies: (Reply | Error)[]) => void, count: number): number
  /** Takes at most `count` messages, as `takeMessages` of a memory store. */
  messages(count: number): Messages
  /** Takes the events that arrived with the messages. */
  events(): Array<RedisEvent>
  /** Closes the connection once all requests are answered, and the subscribing one. Answers `id` and `subscriptionsId`. */
  close(id: number, subscriptionsId: number): void
  /** Drops both connections. Open requests never get an answer. */
  abandon(): void
}

/** The number of a command in the native table. Throws for an unknown name. */
export declare function commandIndex(name: string): number

/** Times are in ms, those of a gap since the epoch. */
export type FanoutNotice =
  | { name: 'gone'; id: number }
  | { name: 'answer'; id: number; code?: string; message?: string }
  | { name: 'failed'; first: boolean; code: string; message: string }
  | { name: 'reconnecting'; attempt: number; delay: number; code: string; message: string }
  | { name: 'gap'; from: number; to: number }
  | { name: 'overflow'; from: number }

export interface Hears {
  wanted: boolean
  live: boolean
}

export interface MemoryStoreOptions {
  prefix?: string | undefined
  strict: boolean
  shared?: string | undefined
}

export interface NativeFanoutStats {
  handlers: number
  subscriptions: number
  watchers: number
  seen: number
  delivered: number
  notLocal: number
  malformed: number
  overflowed: number
  gaps: number
}

/** The messages for the callbacks that were given to `subscribe` of a store. */
export interface NativeStreamStats {
  server: string
  fanout: "targeted" | "filtered" | "all"
  delivers: "own" | "all" | "no-record" | "unreadable-record"
  records: number
  channels: number
  refused: boolean
  delivered: number
  notLocal: number
}

/** What a function gives, or the reason of its failure. */
export interface RedisAnswer {
  username?: string
  password?: string
  host?: string
  port?: number
  servername?: string
  failure?: string
}

export interface RedisClusterOptions {
  nodes: Array<RedisNode>
  /** Where the addresses that nodes tell lead: from, to, from, to, … */
  addresses: Array<RedisNode>
  /** Whether JavaScript is asked for that. */
  asksAddress: boolean
  /** Whether a transaction is split by slot. */
  splits: boolean
}

/** What happened to a connection. Times are in ms, those of a gap since the epoch. */
export type RedisEvent =
  | { name: 'ready'; subscribes: boolean; node: string }
  | { name: 'reconnecting'; subscribes: boolean; attempt: number; delay: number; code: string; message: string; /** Where it led; absent if it never had a server. */
  node?: string }
  | { name: 'unsubscribed'; isPattern: boolean; topic: string; code: string; message: string }
  | { name: 'gap'; from: number; to: number; node?: string }

/** The state of a connection. Times are in ms since the epoch. */
export interface RedisHealth {
  /** Whether it is a subscribing connection. */
  subscribes: boolean
  isReady: boolean
  node?: string
  since: number
  lastHeard?: number
  inFlight: number
  waiting: number
  attempt: number
  code?: string
  message?: string
}

export interface RedisNode {
  host: string
  port: number
}

export interface RedisOptions {
  url?: string
  host?: string
  port?: number
  path?: string
  username?: string
  password?: string
  /** Whether JavaScript is asked for it before each connection. */
  asksUsername: boolean
  asksPassword: boolean
  asksServername: boolean
  db?: number
  /** The version of RESP. */
  protocol?: number
  useTls?: boolean
  tls?: RedisTlsOptions
  sentinel?: RedisSentinelOptions
  clientName?: string
  prefix?: string
  maxRetries?: number
  /** In milliseconds, as all times are. */
  retryDelay?: number
  commandTimeout: number
  /** May be infinity. */
  queueTimeout: number
  connectTimeout: number
  maxQueue: number
  /** In bytes. */
  maxReplySize: number
  /** Whether the runtime is Node.js itself. */
  isNode: boolean
  fanout: "targeted" | "filtered" | "all"
  cluster?: RedisClusterOptions
  readFrom?: "primary" | "replica" | "prefer-replica"
}

/** What a Sentinel says, or why it cannot be asked. */
export interface RedisSentinel {
  node: string
  /** How long its last answer took, in ms. */
  latency?: number
  /** The master that it names. */
  master?: string
  code?: string
  message?: string
}

export interface RedisSentinelOptions {
  name: string
  nodes: Array<RedisNode>
  username?: string
  password?: string
  asksUsername: boolean
  asksPassword: boolean
  asksServername: boolean
  useTls?: boolean
  tls?: RedisTlsOptions
}

/** What the server has replied to HELLO or INFO. */
export interface RedisServer {
  resp: number
  version?: string
  mode?: string
  role?: "master" | "replica"
}

export interface RedisTlsOptions {
  ca?: string
  cert?: string
  key?: string
  servername?: string
  rejectUnauthorized?: boolean
}

export interface StreamNames {
  subscriptions: Array<string>
  resources: Array<string>
}

/** Removes expired keys of all memory stores, and frees removed values, for at most 0.25 ms. True if more is due. */
export declare function sweepExpired(): boolean

/** Trusts the certificate authorities of Node.js: its own, in PEM, and the file of NODE_EXTRA_CA_CERTS. Only the first call counts. */
export declare function trustAsNode(own: string, extra?: string | undefined | null): void
