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
  /** `on_items` is called when there is something to take. */
  constructor(onItems: () => void, collect: Collect)
  /** Gives the token of the handler that it replaces, if that is this thread's. */
  register(handler: string, token: number): number | null
  /** Gives its token, if it was this thread's. With a token it is only taken away if that is its token. */
  unregister(handler: string, token?: number | undefined | null): number | null
  /** 0 if this process has no such handler; 2 the first time that another handler of this process has lost a subscription; else 1. */
  track(handler: string, subscription: string): 0 | 1 | 2
  untrack(subscription: string): void
  /** 0 if this process has no handler for it, 1 if another thread has, 2 if this one has: then it is there to be taken. */
  publish(subscription: string, event: string): 0 | 1 | 2
  watch(resource: string, token: number): void
  unwatch(resource: string, token: number): void
  /** Tells the watchers of the other threads that hear by the same way. */
  notify(resource: string): void
  /** A change is about to be published, and its echo is to be dropped. Gives what `takeBack` needs; nothing if no echo will come. */
  expect(resource: string): number | null
  /** It may not have been published. */
  takeBack(resource: string, expected: number): void
  /** Has what is published on a Redis server heard, for as long as there are handlers and watchers. */
  attach(client: RedisClient): void
  /** Nothing that was published comes back: its channel is left. */
  clearEchoes(): void
  /** Asks for what was refused once more. */
  retry(): void
  /** Nothing is heard any more. */
  detach(): void
  /** Whether a channel of the server is to be heard, and is. */
  hears(aggregate: boolean): Hears
  /** Answers `id` once a channel that is to be heard is. */
  confirm(id: number, aggregate: boolean): void
  /** A message that JavaScript has heard. */
  hear(channel: string, message: string): void
  /** Messages may have been missed between two times, in ms since the epoch. */
  missed(from: number, to: number): void
  /** Whether events are waited for: they keep the process alive. */
  listen(listening: boolean): void
  /**
   * At most so many items: handler's token, subscription, event, and so on; for a change a watcher's token and two nulls. If there are as many,
   * the caller must come again.
   */
  take(count: number): (number | string | null)[]
  /** How many items wait. */
  waiting(): number
  notices(): Array<FanoutNotice>
  streams(): Array<NativeStreamStats>
  handlerCount(): number
  watcherCount(resource?: string | undefined | null): number
  stats(): NativeFanoutStats
}

export declare class MemoryStore {
  constructor(options: MemoryStoreOptions, onWrongType: (command: string) => void, onMessages: () => void, collect: Collect)
  /** The function that runs a command: `(command's number, ...words)`. */
  runner(): Run
  /** The same by another clock than the system's: `(milliseconds since the epoch, command's number, ...words)`. */
  runnerOnClock(): (clock: number, command: number, ...args: Arguments) => Reply
  /**
   * Runs commands, each `[number, ...words]`, with nothing in between. What a command fails with is its result. `clock` is what
   * another clock than the system's shows.
   */
  exec(commands: [command: number, ...args: Argument[]][], clock?: number | undefined | null): (Reply | Error)[]
  subscribe(channel: string): void
  psubscribe(pattern: string): void
  unsubscribe(channel: string): void
  punsubscribe(pattern: string): void
  /**
   * At most so many of the messages that came in: pattern or null, channel, message, and so on; first of all how many did not fit, or null if
   * more wait: then the caller must come again.
   */
  takeMessages(count: number): Messages
  /** How many messages wait. */
  waiting(): number
  /** Leaves the store. It goes, with all it holds, when no other handle is left. */
  close(): void
}

export declare class RedisClient {
  /**
   * Opens nothing yet. `on_mail` is called when there is something to `take`; `on_question` before each connection for which
   * credentials are asked, with a number that `credentials` wants, and whether they are for a Sentinel.
   */
  constructor(options: RedisOptions, onMail: () => void, collect: Collect, onQuestion?: (number: number, ofSentinels: boolean) => void)
  /** The function that sends a batch of commands. */
  sender(): (first: number, ...entries: unknown[]) => void
  /** Has the connection opened, and opened again when it is lost, from now on. */
  start(): void
  /** Answers a question for credentials: those that were asked for, or why there are none. */
  credentials(number: number, username?: string | undefined | null, password?: string | undefined | null, failure?: string | undefined | null): void
  /** Answers `id` once there is a connection, or when attempts enough have failed. */
  connect(id: number): void
  /** Who is at the other end, while there is a connection. */
  server(): RedisServer | null
  /** How the connection for commands does, and the subscribing one once there is one. */
  health(): Array<RedisHealth>
  /** What each Sentinel says, while they are watched. */
  sentinels(): Array<RedisSentinel>
  /** Answers `id` once messages come. */
  subscribe(id: number, isPattern: boolean, name: string): void
  /** Answers `id` once no messages come any more. */
  unsubscribe(id: number, isPattern: boolean, name: string): void
  /** Whether there are callbacks on the channel of events, so that streams of this process are served here. */
  hearStreams(hearing: boolean): void
  /** What is to be read again after a gap: subscriptions of this process, and resources whose changes were told. */
  streams(): StreamNames
  /** Whether messages are waited for: they keep the process alive. */
  listen(listening: boolean): void
  /**
   * Settles at most so much of what was answered, with `settle(first id, ...replies)` or `settle(-1, id, reply, …)`, an Error for a failure. What is left is 1
   * for messages and events, which `messages` gives, and 2 for answers, which this gives when it is called again: it must be.
   */
  take(settle: (first: number, ...replies: (Reply | Error)[]) => void, count: number): number
  /** At most so many messages: as `takeMessages` of a memory store. */
  messages(count: number): Messages
  /** The events that came with the messages. */
  events(): Array<RedisEvent>
  /**
   * Closes the connection once all that was asked for is answered, leaves the subscribing one, and answers `id` and
   * `subscriptions_id`.
   */
  close(id: number, subscriptionsId: number): void
  /** Lets go of everything. Nothing is answered any more. */
  abandon(): void
}

/** The number of a command's row. */
export declare function commandIndex(name: string): number

/** Times are in ms, those of a gap since the epoch. */
export type FanoutNotice =
  | { name: 'gone'; id: number }
  | { name: 'answer'; id: number; code?: string; message?: string }
  | { name: 'failed'; first: boolean; code: string; message: string }
  | { name: 'reconnecting'; attempt: number; delay: number; code: string; message: string }
  | { name: 'gap'; from: number; to: number }
  | { name: 'overflow' }

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

/** What the callbacks of a store hear by its `subscribe`. */
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

export interface RedisClusterOptions {
  nodes: Array<RedisNode>
  /** Where the addresses that nodes tell lead: from, to, from, to, … */
  addresses: Array<RedisNode>
}

/** What happened to a connection. Times are in ms, those of a gap since the epoch. */
export type RedisEvent =
  | { name: 'ready'; subscribes: boolean; node: string }
  | { name: 'reconnecting'; subscribes: boolean; attempt: number; delay: number; code: string; message: string; /** Where it led; absent if it never had a server. */
  node?: string }
  | { name: 'unsubscribed'; isPattern: boolean; topic: string; code: string; message: string }
  | { name: 'gap'; from: number; to: number; node?: string }

/** How a connection does. Times are in ms since the epoch. */
export interface RedisHealth {
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
  /** Whether it is asked for before each connection. */
  asksUsername: boolean
  asksPassword: boolean
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
  /** May be infinite. */
  queueTimeout: number
  connectTimeout: number
  maxQueue: number
  /** In bytes. */
  maxReplySize: number
  /** Node itself, and no other runtime with its functions. */
  isNode: boolean
  fanout: "targeted" | "filtered" | "all"
  cluster?: RedisClusterOptions
  /** It subscribes for the framework's callbacks, and does nothing else. */
  forStreams: boolean
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
  useTls?: boolean
  tls?: RedisTlsOptions
}

/** What the server has said of itself. */
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

/**
 * Removes keys that are due, from all memory stores of the process, and frees what was removed, for a quarter of a millisecond at most.
 * True if there is more to do.
 */
export declare function sweepExpired(): boolean

/** Has the authorities count that Node.js trusts: its own (PEM), and those of the file that NODE_EXTRA_CA_CERTS names. Only the first call does. */
export declare function trustAsNode(own: string, extra?: string | undefined | null): void
