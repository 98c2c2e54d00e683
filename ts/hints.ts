// What to do about an error: the table behind `KVError.hint`, `covara-kv doctor` and docs/errors.md.
import type { KVErrorReason } from "./reasons.js";

const PERHAPS_RUN = "A write may have been run: read what it was to change before it is sent again";

const BY_REASON: Readonly<Record<KVErrorReason, string>> = {
  // CONNECTION
  refused: "Nothing listens there: is the server running, and are host and port right?",
  unreachable: "No network leads there: are host and port right, and is a firewall or a VPN in the way?",
  "unknown-host": "The host's name is not known: is it spelled right?",
  "no-answer": "The server does not answer: is it reachable from here, and does it need TLS (rediss://)?",
  "closed-at-once":
    "What listens there hangs up: does it need TLS (rediss://), or is it at its limit of clients?",
  tls: "Does the server speak TLS on this port, and take the certificate that it is shown?",
  "unknown-authority":
    "Give the authority that signed the certificate as tls.ca (--ca <file> of the command line).",
  "certificate-date": "Renew the certificate, or set this machine's clock.",
  "certificate-name": "Give the name that the certificate is for as host, or as tls.servername.",
  "plain-text":
    "What answers speaks no TLS on this port: use redis:// in place of rediss://, or the server's port for TLS.",
  "needs-tls": "The port has TLS: use rediss:// in place of redis://, or give tls.",
  "not-redis": "Something else listens on this port: is the port right?",
  "not-ready": "The server is there and cannot serve yet: wait for it, or see its log.",
  credentials: "What the function does is in the message: it is asked again at the next attempt.",
  function: "What the function does is in the message: it is asked again at the next attempt.",
  "no-sentinel":
    "The message tells why for each: are the Sentinels' addresses, user, password and TLS right?",
  "unknown-master":
    "Is it the name after `sentinel monitor` in the Sentinels' configuration? SENTINEL MASTERS lists them.",
  lost: `${PERHAPS_RUN}. Why the connection was lost, the server's log may tell.`,
  "lost-twice":
    "Ask for less at once (SCAN, ranges), or raise the server's client-output-buffer-limit for normal clients.",
  ended: "The server, or something on the way, ended the connection: the server's log may tell why.",
  silent:
    "The server has frozen, or the network drops what it sends: is the process stopped, or a command very slow?",
  replaced: "Nothing is to be done: a connection to a master has taken its place.",
  protocol: "What answers does not keep to Redis's protocol: is there a proxy in between?",
  "reply-too-large": "Ask for less at once (SCAN, ranges), or raise maxReplySize.",
  internal: "This is a defect of covara-kv, or the system gives it no thread: please report it.",
  "durable-object": `${PERHAPS_RUN}. The cause tells why the object did not answer.`,
  // TIMEOUT
  "command-timeout": `${PERHAPS_RUN}. Is a command slow (SLOWLOG), or the server overloaded?`,
  "queue-timeout": "Nothing was run: call it again once the store is ready.",
  behind:
    "Nothing was run: the server is slower than it is asked. Call less at once, or raise commandTimeout.",
  script: "What the script had written stays: do less in one, in several calls.",
  "fan-out": "It is tried again by itself: is the Durable Object reachable from here?",
  "no-message": "What was published did not come back: is there a proxy or a cluster in between?",
  // CLOSED
  disconnected: "Nothing was run: connect() opens the store again.",
  unanswered: `disconnect() came first. ${PERHAPS_RUN}.`,
  // CONFIG
  address: "Is the environment variable set, and does it hold what is meant? Nothing was opened.",
  certificate: "It takes the text of PEM files, not their paths. Nothing was opened.",
  sentinel:
    "Give the Sentinels as redis.sentinel: { name, nodes }, with the name that SENTINEL MASTERS tells.",
  cluster: "Give the address of one server as redis.url, and nodes of a cluster as redis.cluster.",
  field: "The message names the field: KVConfig and RedisConfig say what it takes.",
  client: "Give a configuration (url, host, …) in place of the client.",
  "other-strict": "Open all stores of one shared name with the same `strict`.",
  "no-store": "Await initializeKV(), or call setGlobalKV(), before anything uses the store.",
  framework: "Call setGlobalKV(await createKV(…)) in place of the hook.",
  // UNSUPPORTED
  platform: "Use one of the platforms that the message names.",
  "binary-missing": "Install again on this platform, with optional dependencies.",
  "binary-unusable": "Is it the binary of this C library and architecture? Install again on this platform.",
  scripts: "Use multi(), setnx() or getdel().",
  "in-worker": 'Use { type: "durable-object" }, or a process of Node.js.',
  "node-version": "Use a newer Node.js, or setGlobalKV(await createKV(…)) in place of the hook.",
  "unix-socket": "Give host and port.",
};

/** Codes of server replies, and codes of ours with one cause. */
const BY_CODE: Readonly<Record<string, string>> = {
  QUEUE_FULL: "Nothing was run: call less while there is no connection, or raise maxQueue.",
  NOAUTH: "The server wants a password: redis://user:password@host:port",
  WRONGPASS: "The user or the password is wrong.",
  NOPERM: "The user lacks the right for this: see ACL SETUSER.",
  DENIED: "Protected mode lets only its own machine in: set a password, or bind the server to an address.",
  LOADING: "The server loads its data: wait for it.",
  BUSY: "A script holds the server up: SCRIPT KILL ends it.",
  READONLY: "This is a replica: give the address of its master.",
  MASTERDOWN: "This replica has lost its master, and serves nothing until it has it back.",
  NOREPLICAS: "The server takes writes only while it has replicas enough (min-replicas-to-write).",
  MISCONF: "The server cannot save to its disk, and takes no writes until it can: see its log.",
  OOM: "The server is at its maxmemory: delete keys, let them expire, or set an eviction policy.",
  WRONGTYPE: "The key holds a value of another type: TYPE says which.",
  EXECABORT: "Nothing was run: a command was refused when it was queued.",
  NOSCRIPT: "The server has forgotten the script: call eval with its text again.",
  MOVED: "The server has become a node of a cluster: connect again.",
  ASK: "The server has become a node of a cluster: connect again.",
  CROSSSLOT: "Give keys that belong together the same {tag}: they are in one slot then.",
  CLUSTERDOWN: "This is a node of a cluster that does not serve now.",
};

/** What to do about an error, where that is known. */
export function hintFor(code: string, reason: KVErrorReason | undefined): string | undefined {
  // The reasons of native code are in this table too: a test compares them.
  if (reason !== undefined) return BY_REASON[reason];
  return Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
}
