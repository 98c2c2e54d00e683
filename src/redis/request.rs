//! A command on its way to the server.

use std::cmp::Ordering;
use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::{Equivalent, HashSet};
use parking_lot::Mutex;

use crate::backlog::Message;
use crate::error::{Error, Result};
use crate::redis::endpoint::EndpointName;
use crate::redis::moment::Moment;
use crate::redis::protocol::encode;
use crate::redis::slot::Slot;

/// Names a request to its caller.
pub type Id = u32;

pub type ScriptSha1 = [u8; 20];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Commands,
    Subscriptions,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Role::Commands => "commands",
            Role::Subscriptions => "subscriptions",
        })
    }
}

/// Of 112 bytes, and of 128 in a queue: up to there a move is a few instructions, and calls `memcpy` beyond. On its way it is moved six times.
#[derive(Debug, Clone)]
pub struct Request {
    /// None for a request of the connection itself, or of an observer: no call awaits its answer.
    pub id: Option<Id>,
    /// As it is to be sent. For a script: with EVAL and its text.
    pub bytes: Bytes,
    /// How many replies the server gives to it.
    pub replies: u32,
    /// Whether it may be sent again after its reply was lost: never true of a write.
    pub repeatable: bool,
    pub shape: Shape,
    pub subject: Subject,
    pub called: Moment,
    /// When it could be sent: the time for its reply counts from here on.
    pub ready: Moment,
    pub route: Route,
    /// Whether it publishes and writes nothing: messages keep their order when their home moves.
    pub publishes: bool,
    /// In a cluster: whether it has one key. During a migration a node may have only some of several.
    pub has_one_key: bool,
    /// The node of a cluster is to take it though the slot is not its own yet: ASKING goes ahead of it.
    pub asking: bool,
    /// Dropped when the request has ended, whatever has ended it.
    pub guard: Option<Box<Arc<dyn Guard>>>,
    /// A connection was lost during its reply, maybe for the reply's length: it is sent again once, alone.
    pub suspected: bool,
}

impl Request {
    pub fn slot(&self) -> Option<Slot> {
        match self.route {
            Route::Slot(slot) => Some(slot),
            _ => None,
        }
    }

    /// A request that may be sent again, with one reply.
    pub fn repeatable(id: Option<Id>, words: &[&[u8]], called: Instant) -> Self {
        let called = called.into();
        Self {
            id,
            bytes: encode::command(words).into(),
            replies: 1,
            repeatable: true,
            shape: Shape::AsIs,
            subject: Subject::Command,
            called,
            ready: called,
            route: Route::Any,
            publishes: false,
            has_one_key: false,
            asking: false,
            guard: None,
            suspected: false,
        }
    }

    /// Until when it may wait for a connection: no longer than `latest`.
    pub fn waits_until(&self, queue_timeout: Duration, latest: Option<Instant>) -> Moment {
        let until = self.called + queue_timeout;
        latest.map_or(until, |latest| until.min(latest.into()))
    }

    /// Whether it was called before another request.
    pub fn is_before(&self, other: &Request) -> bool {
        self.order().is_before(&other.order())
    }

    pub fn order(&self) -> CallOrder {
        CallOrder {
            called: self.called,
            id: self.id.unwrap_or_default(),
        }
    }
}

/// The place of a call among all others.
#[derive(Clone, Copy)]
pub struct CallOrder {
    called: Moment,
    id: Id,
}

impl CallOrder {
    /// Calls of one tick have the same time, and ids that count up and wrap at 2^30.
    pub fn is_before(&self, other: &Self) -> bool {
        match self.called.cmp(&other.called) {
            Ordering::Equal => (self.id.wrapping_sub(other.id) << 2).cast_signed() < 0,
            order => order.is_lt(),
        }
    }
}

/// Which node of a cluster takes a request. One server takes all.
#[derive(Debug, Clone)]
pub enum Route {
    /// It was called before its server was known to be a node of a cluster: its keys are not known.
    Unknown,
    /// It has no key, or there is no cluster.
    Any,
    Slot(Slot),
    /// Each part goes to its own slot.
    Split(Box<Split>),
    /// A KEYS of all masters.
    Keys,
    /// A SCAN over all masters.
    Scan(Box<ScanCall>),
    /// No node has all its keys.
    Crossed(Box<Error>),
}

/// A call of SCAN.
#[derive(Debug, Clone)]
pub struct ScanCall {
    pub cursor: String,
    /// How many words the request has, and those behind the cursor as they are sent.
    pub words: usize,
    pub rest: Bytes,
}

/// A request of several parts, which have a slot each.
#[derive(Debug, Clone)]
pub struct Split {
    pub joining: Joining,
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub struct Part {
    pub slot: Slot,
    pub bytes: Bytes,
    /// How many replies the server gives to it.
    pub replies: u32,
    /// Where each item of its reply stands in the reply to the whole.
    pub places: Vec<usize>,
}

/// How the replies to the parts become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// Numbers are added.
    Sum,
    /// Each item goes to its place.
    InOrder,
    /// They are the items of an array.
    Each,
    /// Each is a transaction. Each result goes to the place of its command; the numbers of one place are added.
    Transaction,
}

pub trait Guard: Debug + Send + Sync {}

/// How a reply is converted for JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    AsIs,
    /// Members with their scores.
    Scores,
    /// MULTI, its commands, EXEC: one reply each.
    Transaction,
}

/// What the pipeline must know of a request. Large variants are boxed, as most requests are plain commands.
#[derive(Debug, Clone)]
pub enum Subject {
    Command,
    Script(Box<EvalSha>),
    Subscription(Box<Subscription>),
    Unsubscription,
    /// SUNSUBSCRIBE with an UNSUBSCRIBE, whose reply alone counts: the other cannot be told from what the server says unasked.
    ShardUnsubscription,
    /// A message of our own: at its answer a listener leaves topics for another home. A passage leaves none, and is told of the answer.
    Departure(Box<Departure>),
    /// An observer is told the outcome too.
    Observed(Box<Arc<dyn Observer>>),
    /// The part of this number of a whole, which has the request's id.
    Part(Box<(Arc<dyn Whole>, usize)>),
}

/// A request that has several parts.
pub trait Whole: Debug + Send + Sync {
    /// Takes the outcome of a part. Gives that of the whole with its last part.
    fn put(&self, part: usize, outcome: Result<Bytes>) -> Option<Result<Bytes>>;
}

/// Is told the outcome of a request, while the pipeline is locked. One that has no id, and is lost with its connection, is dropped untold.
pub trait Observer: Debug + Send + Sync {
    /// All its replies, as they came in.
    fn replied(&self, replies: &Bytes);

    /// There is no reply.
    fn unanswered(&self, fate: Fate);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    NotRun,
    /// It was sent, and may have been run.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Subscription {
    pub topic: Topic,
    pub asker: Asker,
}

/// Topics that a listener leaves. What the server published before its answer has come by then, and nothing comes later.
#[derive(Debug, Clone)]
pub struct Departure {
    pub listener: usize,
    pub topics: Leaving,
    /// Where they are.
    pub node: EndpointName,
    /// The message's channel, by which they cross to another home.
    pub channel: Topic,
}

/// Topics that are to be left. One that is unsubscribed meanwhile is taken out, as it may be subscribed anew. None once they are left.
pub type Leaving = Arc<Mutex<Option<HashSet<Topic>>>>;

/// Who made the request for a topic. An answer to an earlier request does not count for a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Listeners, who await the answer.
    Listeners(Id),
    /// The table of topics, by the number of its request for a due topic.
    Table(u32),
}

/// The short form of a script for a server that has it.
#[derive(Debug, Clone)]
pub struct EvalSha {
    pub sha1: ScriptSha1,
    /// The request with EVALSHA, up to what follows the script's text.
    pub head: Bytes,
    /// Where in the request's bytes the rest begins.
    pub tail: usize,
    /// The server was sent the hash, and not the text.
    pub is_sent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    pub kind: TopicKind,
    pub name: Bytes,
}

impl Topic {
    pub fn new(kind: TopicKind, name: Bytes) -> Self {
        Self { kind, name }
    }
}

/// Quoted, as a name may hold anything.
impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let kind = match self.kind {
            TopicKind::Channel => "channel",
            TopicKind::Pattern => "pattern",
            TopicKind::Shard => "shard channel",
        };
        write!(formatter, "{kind} \"{}\"", self.name.escape_ascii())
    }
}

/// Looks up a topic without a copy: the hash is the topic's.
#[derive(Hash)]
pub struct TopicName<'a> {
    kind: TopicKind,
    name: &'a [u8],
}

impl<'a> TopicName<'a> {
    pub fn of_shard(name: &'a [u8]) -> Self {
        let kind = TopicKind::Shard;
        Self { kind, name }
    }

    pub fn of_channel(name: &'a [u8]) -> Self {
        let kind = TopicKind::Channel;
        Self { kind, name }
    }

    /// The topic of a message.
    pub fn of(message: &'a Message) -> Self {
        match &message.pattern {
            None => Self::of_channel(&message.channel),
            Some(name) => Self {
                kind: TopicKind::Pattern,
                name,
            },
        }
    }
}

impl Equivalent<Topic> for TopicName<'_> {
    fn equivalent(&self, topic: &Topic) -> bool {
        self.kind == topic.kind && *self.name == topic.name
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicKind {
    Channel,
    Pattern,
    /// A channel whose messages stay at the nodes of its slot, from Redis 7 on.
    Shard,
}

impl TopicKind {
    pub fn subscribe(self) -> &'static [u8] {
        match self {
            TopicKind::Channel => b"SUBSCRIBE",
            TopicKind::Pattern => b"PSUBSCRIBE",
            TopicKind::Shard => b"SSUBSCRIBE",
        }
    }

    pub fn unsubscribe(self) -> &'static [u8] {
        match self {
            TopicKind::Channel => b"UNSUBSCRIBE",
            TopicKind::Pattern => b"PUNSUBSCRIBE",
            TopicKind::Shard => b"SUNSUBSCRIBE",
        }
    }
}
