//! What the subscribing connection is to hear, and what it may have missed.

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
    /// The request of this id is under way: what comes for the name until then is for a subscription that has ended.
    Wanted(Id),
    Live,
    /// To be subscribed as soon as there is a connection, as it was live on one that is gone, or is kept subscribed. The request of
    /// this number is under way, if there is one.
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
    /// A batch at a time, as there may be thousands, and many instances that lost the same server.
    Batched,
}

/// How many topics are subscribed at a time.
pub const BATCH: usize = 500;

#[derive(Default)]
pub struct Topics {
    topics: HashMap<Topic, State, RandomState>,
    /// Those of the topics that are subscribed later.
    batched: HashSet<Topic, RandomState>,
    /// Those that are due, and some that are not any more.
    queued: VecDeque<Topic>,
    /// How many requests for what is due have been made.
    requests: u32,
    /// How many of them are unanswered.
    unanswered: usize,
    /// Since when messages may have been missed.
    missing_since: Option<SystemTime>,
}

/// What the server said on the subscribing connection.
pub enum Heard {
    Message,
    /// It answers the request that was sent first of those unanswered.
    Answer(Result<(), Error>),
    /// Something that nobody asked for.
    Other,
}

impl Topics {
    /// Somebody asks for a topic. False if it is live already.
    pub fn want(&mut self, topic: &Topic, id: Id) -> bool {
        match self.topics.get(topic) {
            Some(State::Live) => return false,
            // The gap that it is in must still be told.
            Some(State::Due(_)) => {}
            Some(State::Wanted(_)) | None => {
                self.topics.insert(topic.clone(), State::Wanted(id));
            }
        }
        true
    }

    /// A topic is to be subscribed whenever there is a connection. False if it is already, or somebody has asked for it.
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

    /// The server has confirmed a request. False if nobody wants the topic any more.
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

    /// Whether what a request asks for is still wanted by whoever made it.
    pub fn is_wanted(&self, Subscription { topic, asker }: &Subscription) -> bool {
        self.topics.get(topic) == Some(&State::from(*asker))
    }

    /// Whether a request subscribes a topic that is not wanted any more, or that was asked for anew.
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

    /// A request has failed. A later one for the same topic may still be under way.
    pub fn failed(&mut self, subscription: &Subscription) {
        if self.is_wanted(subscription) {
            self.remove(&subscription.topic);
        }
    }

    /// The connection is gone, or there was none; it was last heard at `heard`. Messages of topics that are due may be missed.
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

    /// What is to be subscribed first on a new connection: `answered` is called for each as it is answered. The others have their turn.
    pub fn due(&mut self) -> Vec<Subscription> {
        let is_due = |(topic, state): (&Topic, &State)| (*state == State::Due(0)).then(|| topic.clone());
        let due: Vec<_> = self.topics.iter().filter_map(is_due).collect();
        let (later, first): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|topic| self.batched.contains(topic));
        self.queued = later.into();
        let due = first.iter().filter_map(|topic| self.ask(topic)).collect();
        if self.unanswered == 0 && self.queued.is_empty() {
            // Whoever could have missed something has left in the meantime.
            self.missing_since = None;
        }
        due
    }

    /// What is to be subscribed for one that is kept from now on: nothing if it has to wait for its turn.
    pub fn due_now(&mut self, topic: &Topic) -> Option<Subscription> {
        if self.batched.contains(topic) && (!self.queued.is_empty() || self.unanswered >= BATCH) {
            self.queued.push_back(topic.clone());
            return None;
        }
        self.ask(topic)
    }

    /// The next of those that have their turn.
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
