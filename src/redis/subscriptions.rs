//! What the subscribing connection is to hear, and what it may have missed.

use std::time::SystemTime;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::mailbox::{Gap, Mail};
use super::request::{Id, Kind, Topic};
use super::resp;
use crate::backlog::Message;
use crate::error::Error;
use crate::reply::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request of this id is under way: what comes for the name until then is for a subscription that has ended.
    Wanted(Id),
    Live,
    /// Was live on a connection that is gone.
    Lost,
}

impl State {
    /// The state that a request has been made for: one without an id restores.
    fn asked_by(id: Option<Id>) -> Self {
        id.map_or(State::Lost, State::Wanted)
    }
}

#[derive(Default)]
pub struct Subscriptions {
    topics: HashMap<Topic, State, RandomState>,
    /// How many requests that restore a topic are unanswered.
    restoring: usize,
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

impl Subscriptions {
    pub fn want(&mut self, topic: Topic, id: Id) {
        self.topics.insert(topic, State::Wanted(id));
    }

    pub fn remove(&mut self, topic: &Topic) {
        self.topics.remove(topic);
    }

    /// The server has confirmed a request. False if nobody wants the topic any more.
    pub fn confirmed(&mut self, topic: &Topic, id: Option<Id>) -> bool {
        let Some(state) = self.topics.get_mut(topic) else {
            return false;
        };
        if *state == State::asked_by(id) {
            *state = State::Live;
        }
        true
    }

    /// Whether what a request asks for is still wanted by whoever made it.
    pub fn is_wanted(&self, topic: &Topic, id: Option<Id>) -> bool {
        self.topics.get(topic) == Some(&State::asked_by(id))
    }

    /// A request has failed. A later one for the same topic may still be under way.
    pub fn failed(&mut self, topic: &Topic, id: Option<Id>) {
        if self.is_wanted(topic, id) {
            self.topics.remove(topic);
        }
    }

    /// The connection is gone; it was last heard at `heard`.
    pub fn lost(&mut self, heard: SystemTime) {
        self.restoring = 0;
        for state in self.topics.values_mut() {
            if *state == State::Live {
                *state = State::Lost;
                self.missing_since.get_or_insert(heard);
            }
        }
    }

    /// What a new connection is to subscribe first: `restored` is called for each as it is answered.
    pub fn restore(&mut self) -> Vec<Topic> {
        let lost = |(topic, state): (&Topic, &State)| (*state == State::Lost).then(|| topic.clone());
        let topics: Vec<_> = self.topics.iter().filter_map(lost).collect();
        self.restoring = topics.len();
        if topics.is_empty() {
            // Whoever could have missed something has left in the meantime.
            self.missing_since = None;
        }
        topics
    }

    pub fn restored(&mut self, mail: &mut Mail) {
        self.restoring = self.restoring.saturating_sub(1);
        if self.restoring > 0 {
            return;
        }
        if let Some(from) = self.missing_since.take() {
            let to = SystemTime::now();
            mail.missed(Gap { from, to });
        }
    }

    pub fn hear(&self, frame: &Bytes, mail: &mut Mail) -> Heard {
        let items = match resp::parse(frame) {
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

    fn message(&self, pattern: Option<Bytes>, channel: Bytes, payload: Bytes, mail: &mut Mail) -> Heard {
        let topic = match &pattern {
            None => Topic {
                kind: Kind::Channel,
                name: channel.clone(),
            },
            Some(pattern) => Topic {
                kind: Kind::Pattern,
                name: pattern.clone(),
            },
        };
        if self.topics.get(&topic) == Some(&State::Live) {
            mail.backlog.push(Message {
                pattern,
                channel,
                payload,
            });
        }
        Heard::Message
    }
}
