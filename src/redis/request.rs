//! A command on its way to the server.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::Equivalent;

/// Names a request to whoever made it.
pub type Id = u32;

pub type Sha1 = [u8; 20];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Commands,
    Subscriptions,
}

#[derive(Debug, Clone)]
pub struct Request {
    /// None for what a connection asks on its own account: nobody waits for it.
    pub id: Option<Id>,
    /// As it is to be sent. For a script: with EVAL and its text.
    pub bytes: Bytes,
    /// How many replies the server gives to it.
    pub replies: usize,
    /// Whether it may be sent again when its reply was lost: never true of what changes something.
    pub repeatable: bool,
    pub shape: Shape,
    pub subject: Subject,
    pub called: Instant,
    /// A connection was lost while the server answered it, maybe for how long its reply is: it goes out again by itself, and once.
    pub suspected: bool,
}

impl Request {
    /// Whether it was called before another one. Calls of one tick have one time; their ids count up, and wrap around at 2^30.
    pub fn is_before(&self, other: &Request) -> bool {
        let id = |request: &Request| request.id.unwrap_or_default();
        match self.called.cmp(&other.called) {
            Ordering::Equal => (id(self).wrapping_sub(id(other)) << 2).cast_signed() < 0,
            order => order.is_lt(),
        }
    }
}

/// What becomes of a reply before JavaScript sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    AsIs,
    /// Members with their scores.
    Scores,
    /// MULTI, its commands, EXEC: one reply each.
    Transaction,
}

/// What a request is about, where that matters on its way. Boxed, as it does for few.
#[derive(Debug, Clone)]
pub enum Subject {
    Command,
    Script(Box<Script>),
    Subscription(Box<Subscription>),
    Unsubscription,
    /// Somebody beside the caller is told its outcome.
    Observed(Arc<dyn Observer>),
}

/// Told the outcome of a request, while its pipeline is locked.
pub trait Observer: Debug + Send + Sync {
    /// All its replies, as they came in.
    fn replied(&self, replies: &Bytes);

    /// There is no reply.
    fn unanswered(&self, fate: Fate);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    NotRun,
    /// It was sent.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Subscription {
    pub topic: Topic,
    pub asker: Asker,
}

/// Who asks for a topic: an answer to an earlier request is none to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Whoever waits for the answer.
    Caller(Id),
    /// The pipeline, for what is due, and the number of the request.
    Pipeline(u32),
}

/// How a script is named to a server that has it.
#[derive(Debug, Clone)]
pub struct Script {
    pub sha1: Sha1,
    /// The request with EVALSHA, up to what follows the script's text.
    pub head: Bytes,
    /// Where in the request's bytes that begins.
    pub tail: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    pub kind: Kind,
    pub name: Bytes,
}

/// A topic that is looked up: its hash is that of the topic.
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

    /// Where a message comes from.
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
