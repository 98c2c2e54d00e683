//! A command on its way to the server.

use std::cmp::Ordering;
use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::Equivalent;

use crate::redis::protocol::encode;

/// Names a request to its caller.
pub type Id = u32;

pub type Sha1 = [u8; 20];

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

#[derive(Debug, Clone)]
pub struct Request {
    /// None for a request of the connection itself, whose answer is not awaited.
    pub id: Option<Id>,
    /// As it is to be sent. For a script: with EVAL and its text.
    pub bytes: Bytes,
    /// How many replies the server gives to it.
    pub replies: usize,
    /// Whether it may be sent again after its reply was lost: never true of a write.
    pub repeatable: bool,
    pub shape: Shape,
    pub subject: Subject,
    pub called: Instant,
    /// A connection was lost during its reply, maybe for the reply's length: it is sent again once, alone.
    pub suspected: bool,
}

impl Request {
    /// A request that may be sent again, with one reply.
    pub fn repeatable(id: Option<Id>, words: &[&[u8]], called: Instant) -> Self {
        Self {
            id,
            bytes: encode::command(words).into(),
            replies: 1,
            repeatable: true,
            shape: Shape::AsIs,
            subject: Subject::Command,
            called,
            suspected: false,
        }
    }

    /// Whether it was called before another request. Calls of one tick have the same time, and ids that count up and wrap at 2^30.
    pub fn is_before(&self, other: &Request) -> bool {
        let id = |request: &Request| request.id.unwrap_or_default();
        match self.called.cmp(&other.called) {
            Ordering::Equal => (id(self).wrapping_sub(id(other)) << 2).cast_signed() < 0,
            order => order.is_lt(),
        }
    }
}

/// How a reply is converted for JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    AsIs,
    /// Members with their scores.
    Scores,
    /// MULTI, its commands, EXEC: one reply each.
    Transaction,
}

/// What the pipeline must know of a request. Boxed, as few have any.
#[derive(Debug, Clone)]
pub enum Subject {
    Command,
    Script(Box<Script>),
    Subscription(Box<Subscription>),
    Unsubscription,
    /// An observer is told the outcome too.
    Observed(Arc<dyn Observer>),
}

/// Is told the outcome of a request, while the pipeline is locked.
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
pub struct Script {
    pub sha1: Sha1,
    /// The request with EVALSHA, up to what follows the script's text.
    pub head: Bytes,
    /// Where in the request's bytes the rest begins.
    pub tail: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    pub kind: Kind,
    pub name: Bytes,
}

/// Quoted, as a name may hold anything.
impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let kind = match self.kind {
            Kind::Channel => "channel",
            Kind::Pattern => "pattern",
        };
        write!(formatter, "{kind} \"{}\"", self.name.escape_ascii())
    }
}

/// Looks up a topic without a copy: the hash is the topic's.
#[derive(Hash)]
pub struct TopicName<'a> {
    kind: Kind,
    name: &'a [u8],
}

impl<'a> TopicName<'a> {
    pub fn of_channel(name: &'a [u8]) -> Self {
        let kind = Kind::Channel;
        Self { kind, name }
    }

    /// The topic of a message.
    pub fn of(pattern: &'a Option<Bytes>, channel: &'a Bytes) -> Self {
        match pattern {
            None => Self::of_channel(channel),
            Some(name) => Self {
                kind: Kind::Pattern,
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
pub enum Kind {
    Channel,
    Pattern,
}

impl Kind {
    pub fn subscribe(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"SUBSCRIBE",
            Kind::Pattern => b"PSUBSCRIBE",
        }
    }

    pub fn unsubscribe(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"UNSUBSCRIBE",
            Kind::Pattern => b"PUNSUBSCRIBE",
        }
    }
}
