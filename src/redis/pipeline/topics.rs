//! The state of each topic on the server: desired, requested, confirmed; and the gap in what was received.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::backlog::Message;
use crate::error::Error;
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::protocol::decode;
use crate::redis::request::{Asker, Id, Request, Subject, Subscription, Topic, TopicName};
use crate::reply::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The caller's request of this id is in flight. A message before its confirmation belongs to a subscription that has ended.
    Wanted(Id),
    Live,
    /// Desired, and not confirmed on this connection: it was live on the last one, or is kept. The request of this number is in flight;
    /// 0 for none.
    Due(u32),
}

impl From<Asker> for State {
    fn from(asker: Asker) -> Self {
        match asker {
            Asker::Caller(id) => State::Wanted(id),
            Asker::Pipeline(number) => State::Due(number),
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

#[derive(Default)]
pub struct Topics {
    topics: HashMap<Topic, State, RandomState>,
    /// Topics that are subscribed in batches.
    batched: HashSet<Topic, RandomState>,
    /// Topics that wait for a batch, and some that need none any more.
    queued: VecDeque<Topic>,
    /// The number of the last request for a due topic.
    requests: u32,
    /// How many of these requests are unanswered.
    unanswered: usize,
    /// When the gap began, while one is open.
    missing_since: Option<SystemTime>,
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
        match self.topics.get(topic) {
            Some(State::Live) => return false,
            // Its gap must still be told.
            Some(State::Due(_)) => {}
            Some(State::Wanted(_)) | None => {
                self.topics.insert(topic.clone(), State::Wanted(id));
            }
        }
        true
    }

    /// Desires a topic on every connection. False if it is known already.
    pub fn keep(&mut self, topic: &Topic, priority: Priority) -> bool {
        let is_new = !self.topics.contains_key(topic);
        if is_new {
            self.topics.insert(topic.clone(), State::Due(0));
            if priority == Priority::Batched {
                self.batched.insert(topic.clone());
            }
        }
        is_new
    }

    pub fn is_live(&self, topic: &Topic) -> bool {
        self.topics.get(topic) == Some(&State::Live)
    }

    pub fn has(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn remove(&mut self, topic: &Topic) {
        self.topics.remove(topic);
        self.batched.remove(topic);
    }

    /// The server has confirmed a request. False if the topic is not desired any more.
    pub fn confirmed(
        &mut self,
        Subscription { topic, asker }: &Subscription,
        mail: &mut CompletionBatch,
    ) -> bool {
        let Some(state) = self.topics.get_mut(topic) else {
            return false;
        };
        if *state == State::from(*asker) {
            *state = State::Live;
            let topic = topic.clone();
            mail.events.push(Event::Subscribed { topic });
        }
        true
    }

    /// Whether a request is the latest for its topic.
    pub fn is_wanted(&self, Subscription { topic, asker }: &Subscription) -> bool {
        self.topics.get(topic) == Some(&State::from(*asker))
    }

    /// Whether a request subscribes a topic that is not desired any more, or that has a later request.
    pub fn is_left(&self, request: &Request) -> bool {
        let Subject::Subscription(subscription) = &request.subject else {
            return false;
        };
        let Subscription { topic, asker } = &**subscription;
        match self.topics.get(topic) {
            None => true,
            Some(State::Wanted(id)) => *asker != Asker::Caller(*id),
            Some(State::Live | State::Due(_)) => false,
        }
    }

    /// A request has failed. A later one for the same topic may be in flight.
    pub fn failed(&mut self, subscription: &Subscription) {
        if self.is_wanted(subscription) {
            self.remove(&subscription.topic);
        }
    }

    /// The connection was lost, or an attempt has failed; it was last heard at `heard`. The gap begins there.
    pub fn lost(&mut self, heard: SystemTime, mail: &mut CompletionBatch) {
        self.unanswered = 0;
        self.queued.clear();
        let mut is_missing = false;
        for state in self.topics.values_mut() {
            if matches!(state, State::Live | State::Due(_)) {
                *state = State::Due(0);
                is_missing = true;
            }
        }
        if is_missing {
            self.missing_since.get_or_insert(heard);
            mail.events.push(Event::Missing);
        }
    }

    /// The topics to subscribe first on a new connection; `answered` counts their answers. The others wait for a batch.
    pub fn due(&mut self) -> Vec<Subscription> {
        let is_due = |(topic, state): (&Topic, &State)| (*state == State::Due(0)).then(|| topic.clone());
        let due: Vec<_> = self.topics.iter().filter_map(is_due).collect();
        let (later, first): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|topic| self.batched.contains(topic));
        self.queued = later.into();
        let due = first.iter().filter_map(|topic| self.ask(topic)).collect();
        if self.unanswered == 0 && self.queued.is_empty() {
            // All topics that could have missed a message were unsubscribed meanwhile.
            self.missing_since = None;
        }
        due
    }

    /// The request for a topic that is newly kept; nothing if it waits for a batch.
    pub fn due_now(&mut self, topic: &Topic) -> Option<Subscription> {
        if self.batched.contains(topic) && (!self.queued.is_empty() || self.unanswered >= BATCH) {
            self.queued.push_back(topic.clone());
            return None;
        }
        self.ask(topic)
    }

    /// The next batch of topics.
    pub fn next_batch(&mut self, mail: &mut CompletionBatch) -> Vec<Subscription> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(topic) = self.queued.pop_front()
        {
            batch.extend(self.ask(&topic));
        }
        self.tell_gap(mail);
        batch
    }

    pub fn has_batches(&self) -> bool {
        !self.queued.is_empty()
    }

    fn ask(&mut self, topic: &Topic) -> Option<Subscription> {
        let state = self
            .topics
            .get_mut(topic)
            .filter(|state| **state == State::Due(0))?;
        self.requests = self.requests.wrapping_add(1).max(1);
        *state = State::Due(self.requests);
        self.unanswered += 1;
        Some(Subscription {
            topic: topic.clone(),
            asker: Asker::Pipeline(self.requests),
        })
    }

    pub fn answered(&mut self, mail: &mut CompletionBatch) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.tell_gap(mail);
    }

    fn tell_gap(&mut self, mail: &mut CompletionBatch) {
        if self.unanswered > 0 || !self.queued.is_empty() {
            return;
        }
        if let Some(from) = self.missing_since.take() {
            let to = SystemTime::now();
            mail.missed(Gap { from, to });
        }
    }

    pub fn hear(&self, frame: &Bytes, mail: &mut CompletionBatch) -> Heard {
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
            b"message" => self.message(None, word(), word(), mail),
            b"pmessage" => self.message(Some(word()), word(), word(), mail),
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
        mail: &mut CompletionBatch,
    ) -> Heard {
        if self.topics.get(&TopicName::of(&pattern, &channel)) == Some(&State::Live) {
            mail.backlog.push(Message {
                pattern,
                channel,
                payload,
            });
        }
        Heard::Message
    }
}
