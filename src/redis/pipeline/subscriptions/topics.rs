//! The state of each topic on the server: desired, requested, confirmed; and the gap in what was received.

use std::collections::VecDeque;
use std::hash::Hash;
use std::time::SystemTime;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use crate::backlog::Message;
use crate::error::Error;
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::endpoint::Node;
use crate::redis::protocol::decode;
use crate::redis::request::{Asker, Id, Request, Subject, Subscription, Topic, TopicName};
use crate::reply::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The caller's request of this id is in flight. A message before its confirmation belongs to a subscription that has ended.
    Wanted(Id),
    Live,
    /// Desired, and not confirmed on this connection: it was live on the last one, or is kept. The request of this number is in flight;
    /// 0 for none.
    Due(u32),
}

impl From<Asker> for Status {
    fn from(asker: Asker) -> Self {
        match asker {
            Asker::Caller(id) => Status::Wanted(id),
            Asker::Pipeline(number) => Status::Due(number),
        }
    }
}

/// When a topic is subscribed on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    First,
    /// In batches: there may be thousands of topics, and many instances that have lost the same server.
    Batched,
}

/// The size of a batch.
pub const BATCH: usize = 500;

#[derive(Debug, Clone, Copy)]
struct State {
    status: Status,
    priority: Priority,
}

#[derive(Default)]
pub struct Topics {
    topics: HashMap<Topic, State, RandomState>,
    /// Topics that wait for a batch, and some that need none any more.
    queued: VecDeque<Topic>,
    /// The number of the last request for a due topic.
    requests: u32,
    /// How many of these requests are unanswered.
    unanswered: usize,
    /// When the gap began, while one is open, and at which server.
    missing: Option<(SystemTime, Option<Node>)>,
}

/// What a frame on the subscribing connection is.
pub enum Heard {
    Message,
    /// The answer to the request that was sent first.
    Answer(Result<(), Error>),
    /// A push of a kind that is not used.
    Other,
}

impl Topics {
    /// A caller desires a topic. False if it is live.
    pub fn want(&mut self, topic: &Topic, id: Id) -> bool {
        let status = Status::Wanted(id);
        match self.topics.get_mut(topic) {
            Some(state) => match state.status {
                Status::Live => return false,
                // Its gap must still be told.
                Status::Due(_) => {}
                Status::Wanted(_) => state.status = status,
            },
            None => {
                let priority = Priority::First;
                self.topics.insert(topic.clone(), State { status, priority });
            }
        }
        true
    }

    /// Desires a topic on every connection. False if it is known already.
    pub fn keep(&mut self, topic: &Topic, priority: Priority) -> bool {
        let is_new = !self.topics.contains_key(topic);
        if is_new {
            let status = Status::Due(0);
            self.topics.insert(topic.clone(), State { status, priority });
        }
        is_new
    }

    pub fn is_live(&self, topic: &Topic) -> bool {
        self.status(topic) == Some(Status::Live)
    }

    fn status<T: Hash + Equivalent<Topic>>(&self, topic: &T) -> Option<Status> {
        self.topics.get(topic).map(|state| state.status)
    }

    pub fn has(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn remove(&mut self, topic: &Topic) {
        self.topics.remove(topic);
    }

    /// The server has confirmed a request. False if the topic is not desired any more.
    pub fn confirmed(
        &mut self,
        Subscription { topic, asker }: &Subscription,
        completed: &mut CompletionBatch,
    ) -> bool {
        let Some(state) = self.topics.get_mut(topic) else {
            return false;
        };
        if state.status == Status::from(*asker) {
            state.status = Status::Live;
            let topic = topic.clone();
            completed.events.push(Event::Subscribed { topic });
        }
        true
    }

    /// Whether a request is the latest for its topic.
    pub fn is_wanted(&self, Subscription { topic, asker }: &Subscription) -> bool {
        self.status(topic) == Some(Status::from(*asker))
    }

    /// Whether a request subscribes a topic that is not desired any more, or that has a later request.
    pub fn is_left(&self, request: &Request) -> bool {
        let Subject::Subscription(subscription) = &request.subject else {
            return false;
        };
        let Subscription { topic, asker } = &**subscription;
        match self.status(topic) {
            None => true,
            Some(Status::Wanted(id)) => *asker != Asker::Caller(id),
            Some(Status::Live | Status::Due(_)) => false,
        }
    }

    /// A request has failed. A later one for the same topic may be in flight.
    pub fn failed(&mut self, subscription: &Subscription) {
        if self.is_wanted(subscription) {
            self.remove(&subscription.topic);
        }
    }

    /// The connection was lost, or an attempt has failed; it was last heard at `heard`. The gap begins there.
    pub fn lost(&mut self, heard: SystemTime, node: Option<Node>, completed: &mut CompletionBatch) {
        self.unanswered = 0;
        self.queued.clear();
        let mut is_missing = false;
        for state in self.topics.values_mut() {
            if matches!(state.status, Status::Live | Status::Due(_)) {
                state.status = Status::Due(0);
                is_missing = true;
            }
        }
        if is_missing {
            self.missing.get_or_insert((heard, node));
            completed.events.push(Event::Missing);
        }
    }

    /// An open gap began at this time at the latest.
    pub fn doubt(&mut self, from: SystemTime) {
        if let Some((since, _)) = &mut self.missing {
            *since = from.min(*since);
        }
    }

    /// The topics to subscribe first on a new connection; `answered` counts their answers. The others wait for a batch.
    pub fn due(&mut self) -> Vec<Subscription> {
        self.queued.clear();
        let mut first = Vec::new();
        for (topic, state) in &self.topics {
            match state.priority {
                _ if state.status != Status::Due(0) => {}
                Priority::First => first.push(topic.clone()),
                Priority::Batched => self.queued.push_back(topic.clone()),
            }
        }
        let due = first.iter().filter_map(|topic| self.ask(topic)).collect();
        if self.unanswered == 0 && self.queued.is_empty() {
            // All topics that could have missed a message were unsubscribed meanwhile.
            self.missing = None;
        }
        due
    }

    /// The request for a topic that is newly kept; nothing if it waits for a batch.
    pub fn due_now(&mut self, topic: &Topic) -> Option<Subscription> {
        let state = self.topics.get(topic);
        let is_batched = state.is_some_and(|state| state.priority == Priority::Batched);
        if is_batched && (!self.queued.is_empty() || self.unanswered >= BATCH) {
            self.queued.push_back(topic.clone());
            return None;
        }
        self.ask(topic)
    }

    /// The next batch of topics.
    pub fn next_batch(&mut self, completed: &mut CompletionBatch) -> Vec<Subscription> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(topic) = self.queued.pop_front()
        {
            batch.extend(self.ask(&topic));
        }
        self.tell_gap(completed);
        batch
    }

    pub fn has_batches(&self) -> bool {
        !self.queued.is_empty()
    }

    fn ask(&mut self, topic: &Topic) -> Option<Subscription> {
        let state = self
            .topics
            .get_mut(topic)
            .filter(|state| state.status == Status::Due(0))?;
        self.requests = self.requests.wrapping_add(1).max(1);
        state.status = Status::Due(self.requests);
        self.unanswered += 1;
        Some(Subscription {
            topic: topic.clone(),
            asker: Asker::Pipeline(self.requests),
        })
    }

    pub fn answered(&mut self, completed: &mut CompletionBatch) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.tell_gap(completed);
    }

    fn tell_gap(&mut self, completed: &mut CompletionBatch) {
        if self.unanswered > 0 || !self.queued.is_empty() {
            return;
        }
        if let Some((from, node)) = self.missing.take() {
            let to = SystemTime::now();
            completed.missed(Gap { from, to, node });
        }
    }

    pub fn hear(&self, frame: &Bytes, completed: &mut CompletionBatch) -> Heard {
        let items = match decode::parse(frame) {
            Ok(Reply::Array(items)) => items,
            Ok(Reply::Error(error)) | Err(error) => return Heard::Answer(Err(error)),
            Ok(_) => return Heard::Answer(Ok(())),
        };
        let mut words = items.iter().map(|item| match item {
            Reply::Bulk(bytes) => frame.slice_ref(bytes),
            _ => Bytes::new(),
        });
        let mut word = || words.next().unwrap_or_default();
        match &word()[..] {
            b"message" => self.message(None, word(), word(), completed),
            b"pmessage" => self.message(Some(word()), word(), word(), completed),
            b"subscribe" | b"psubscribe" | b"unsubscribe" | b"punsubscribe" | b"pong" => {
                Heard::Answer(Ok(()))
            }
            _ => Heard::Other,
        }
    }

    fn message(
        &self,
        pattern: Option<Bytes>,
        channel: Bytes,
        payload: Bytes,
        completed: &mut CompletionBatch,
    ) -> Heard {
        if self.status(&TopicName::of(&pattern, &channel)) == Some(Status::Live) {
            completed.backlog.push(Message {
                pattern,
                channel,
                payload,
            });
        }
        Heard::Message
    }
}
