//! What the homes of a cluster tell a listener, and what is awaited of them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::{Equivalent, HashMap};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::backlog::Backlog;
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::endpoint::Node;
use crate::redis::protocol::published::Skipped;
use crate::redis::request::{Departure, Id, Topic, TopicName};
use crate::redis::subscriber::listener::Listener;

/// Answered by a home that was left: no call has this id.
pub const LEFT: Id = Id::MAX;
/// The same of a home that is left for another.
pub const UNUSED: Id = Id::MAX - 1;

/// Hears what all homes tell the listener. Called while a pipeline is locked: it waits for no lock of the subscriber.
pub struct Ear {
    pub listener: Arc<dyn Listener>,
    pub awaited: Mutex<Awaited>,
}

#[derive(Default)]
pub struct Awaited {
    /// Who awaits the confirmation of a topic.
    pub callers: HashMap<Topic, Vec<Id>>,
    /// Topics that have left a home and are at no other yet, since when, and which it was.
    pub moving: HashMap<Topic, (SystemTime, Node)>,
    /// When the gap begins that is told once all have moved, and at which home.
    pub gap_since: Option<(SystemTime, Node)>,
    /// Topics that a home has refused: they are not to be tried again.
    pub refused: Vec<Topic>,
    /// Channels by which topics cross to another home.
    pub crossings: HashMap<Topic, Signals>,
    /// Who is answered once so many homes are left.
    pub leaving: Option<(Id, usize)>,
}

/// Awaits the confirmation of a channel at the new home, that the topics have left the old one, and the message that the old one was given.
pub struct Signals {
    /// The old home.
    pub node: Node,
    pub subscribed: Option<oneshot::Sender<()>>,
    pub departed: Option<oneshot::Sender<()>>,
    pub heard: Option<oneshot::Sender<()>>,
}

impl Awaited {
    /// A topic is at its new home, or is to be nowhere. Gives the gap once none is on its way.
    pub fn arrived(&mut self, topic: &Topic) -> Option<Gap> {
        let left = self.moving.remove(topic)?;
        let earliest = match self.gap_since.take() {
            Some(earlier) if earlier.0 <= left.0 => earlier,
            _ => left,
        };
        if !self.moving.is_empty() {
            self.gap_since = Some(earliest);
            return None;
        }
        let (from, node) = earliest;
        Some(Gap {
            from,
            to: SystemTime::now(),
            node: Some(node),
        })
    }

    /// Takes the messages of crossings.
    fn hear_crossings(&mut self, backlog: &mut Backlog) {
        let heard = RefCell::new(Vec::new());
        backlog.forget(|message| {
            let name = TopicName::of(&message.pattern, &message.channel);
            let topic = self.crossings.keys().find(|topic| name.equivalent(*topic));
            heard.borrow_mut().extend(topic.cloned());
            topic.is_some()
        });
        for topic in heard.into_inner() {
            let crossing = self.crossings.get_mut(&topic);
            crossing
                .and_then(|crossing| crossing.heard.take())
                .map(|told| told.send(()));
        }
    }
}

impl Ear {
    /// These topics are nowhere any more: no gap waits for them.
    pub fn forget(&self, topics: &[&Topic]) {
        let mut batch = CompletionBatch::default();
        let mut awaited = self.awaited.lock();
        for topic in topics {
            if let Some(gap) = awaited.arrived(topic) {
                batch.push_gap(gap);
            }
        }
        drop(awaited);
        self.put_unless_empty(batch);
    }

    pub fn put_unless_empty(&self, batch: CompletionBatch) {
        if !batch.is_empty() {
            self.listener.put(batch);
        }
    }
}

impl Listener for Ear {
    fn put(&self, mut batch: CompletionBatch) {
        batch.answers.retain(|answer| answer.id != UNUSED);
        let mut awaited = self.awaited.lock();
        if let Some((id, homes)) = &mut awaited.leaving {
            let answers = batch.answers.len();
            batch.answers.retain(|answer| answer.id != LEFT);
            *homes = homes.saturating_sub(answers - batch.answers.len());
            if *homes == 0 {
                batch.done(*id);
                awaited.leaving = None;
            }
        }
        // Whoever awaits the topic is told by its answer.
        for event in std::mem::take(&mut batch.events) {
            if let Event::Unsubscribed { topic, .. } = &event {
                // A user that may not use the channel of a crossing moves without it.
                if awaited.crossings.remove(topic).is_some() {
                    continue;
                }
                if let Some(gap) = awaited.arrived(topic) {
                    batch.push_gap(gap);
                }
                awaited.refused.push(topic.clone());
            }
            match &event {
                Event::Unsubscribed { topic, error } if awaited.callers.contains_key(topic) => {
                    for id in awaited.callers.remove(topic).into_iter().flatten() {
                        batch.failed(id, error.clone());
                    }
                }
                _ => batch.events.push(event),
            }
        }
        if !awaited.crossings.is_empty() {
            awaited.hear_crossings(&mut batch.backlog);
        }
        drop(awaited);
        self.put_unless_empty(batch);
    }

    fn skip(&self, channel: &[u8], received: &[u8]) -> Skipped {
        if self.awaited.lock().crossings.is_empty() {
            self.listener.skip(channel, received)
        } else {
            Skipped::default()
        }
    }

    fn subscribed(&self, topic: &Topic) {
        if let Some(crossing) = self.awaited.lock().crossings.get_mut(topic) {
            crossing.subscribed.take().map(|told| told.send(()));
            return;
        }
        self.listener.subscribed(topic);
        let mut batch = CompletionBatch::default();
        let mut awaited = self.awaited.lock();
        for id in awaited.callers.remove(topic).into_iter().flatten() {
            batch.done(id);
        }
        if let Some(gap) = awaited.arrived(topic) {
            batch.push_gap(gap);
        }
        drop(awaited);
        self.put_unless_empty(batch);
    }

    fn departed(&self, departure: &Departure, since: SystemTime, is_refused: bool) {
        let mut awaited = self.awaited.lock();
        let Awaited {
            crossings, moving, ..
        } = &mut *awaited;
        let Some(crossing) = crossings.get_mut(&departure.channel) else {
            return;
        };
        for topic in &departure.topics {
            let left = moving
                .entry(topic.clone())
                .or_insert_with(|| (since, crossing.node.clone()));
            left.0 = left.0.min(since);
        }
        crossing.departed.take().map(|told| told.send(()));
        if is_refused {
            crossing.heard = None;
        }
        drop(awaited);
        self.listener.gap_began();
    }

    fn gap_began(&self) {
        self.listener.gap_began();
    }
}
