//! What the homes of a cluster tell a listener, and what is awaited of them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::{Equivalent, HashMap};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::backlog::Backlog;
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::protocol::published::Skipped;
use crate::redis::request::{Id, Topic, TopicName};
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
    /// Topics that move to another home, and when the old one was last heard.
    pub moving: HashMap<Topic, SystemTime>,
    /// When the gap begins that is told once all have moved.
    pub gap_since: Option<SystemTime>,
    /// Channels by which topics cross to another home.
    pub crossings: HashMap<Topic, Crossing>,
    /// Who is answered once so many homes are left.
    pub leaving: Option<(Id, usize)>,
}

/// Awaits the confirmation of a channel at the new home, and then the message that the old home was given for it.
pub struct Crossing {
    pub subscribed: Option<oneshot::Sender<()>>,
    pub heard: Option<oneshot::Sender<()>>,
}

impl Awaited {
    /// A topic is at its new home, or is to be nowhere. Gives the gap once none is on its way.
    pub fn arrived(&mut self, topic: &Topic) -> Option<Gap> {
        let heard = self.moving.remove(topic)?;
        let since = self.gap_since.map_or(heard, |since| since.min(heard));
        self.gap_since = Some(since);
        if !self.moving.is_empty() {
            return None;
        }
        let from = self.gap_since.take()?;
        let to = SystemTime::now();
        Some(Gap { from, to, node: None })
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

    fn gap_began(&self) {
        self.listener.gap_began();
    }
}
