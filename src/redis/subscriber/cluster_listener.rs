//! What the homes of a cluster tell a listener, and what is awaited of them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::{Equivalent, HashMap, HashSet};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::backlog::Backlog;
use crate::redis::cluster::publishing::BUS_TIMEOUT;
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::endpoint::EndpointName;
use crate::redis::protocol::published::Skipped;
use crate::redis::request::{Departure, Id, Topic, TopicName};
use crate::redis::subscriber::listener::Listener;

/// Answered by a home that was left: no call has this id.
pub const LEFT: Id = Id::MAX;
/// The same of a home that is left for another.
pub const UNUSED: Id = Id::MAX - 1;

/// Hears what all homes tell the listener. Called while a pipeline is locked: it waits for no lock of the subscriber.
pub struct ClusterListener {
    pub listener: Arc<dyn Listener>,
    pub awaited: Mutex<Awaited>,
    /// Topics are at a server that is not their home.
    pub displaced: Arc<Notify>,
    /// The connection to a home is lost, with which it may have lost its slots.
    pub lost: Arc<Notify>,
}

#[derive(Default)]
pub struct Awaited {
    pub callers: HashMap<Topic, Callers>,
    /// Topics that have left a home and are at no other yet.
    pub moving: HashMap<Topic, Moving>,
    /// When the gap begins that is told once all have moved, and at which home.
    pub gap_from: Option<(SystemTime, EndpointName)>,
    /// Topics that a home has refused: they are not to be tried again.
    pub refused: Vec<Topic>,
    /// Channels of the subscriber's own, by which topics cross and homes are probed.
    pub own: HashMap<Topic, Signals>,
    /// Who is answered once so many homes are left.
    pub leaving: Option<(Id, usize)>,
}

/// A topic that has left a home and is at no other yet.
pub struct Moving {
    pub since: SystemTime,
    /// The home.
    pub node: EndpointName,
    /// By which it crosses: that of the crossing under way, if one follows another.
    pub channel: Topic,
}

/// Who awaits the confirmation of a topic.
#[derive(Default)]
pub struct Callers {
    pub ids: Vec<Id>,
    /// Nothing else keeps the topic.
    pub are_alone: bool,
}

/// Tells what comes by a channel of the subscriber's own: its confirmation, that topics have left a home for it, and a message.
#[derive(Default)]
pub struct Signals {
    pub subscribed: Option<oneshot::Sender<()>>,
    pub departed: Option<oneshot::Sender<()>>,
    pub heard: Option<oneshot::Sender<()>>,
}

impl Awaited {
    pub fn take_callers(&mut self, topic: &Topic) -> Callers {
        self.callers.remove(topic).unwrap_or_default()
    }

    pub fn is_awaited(&self, id: Id, topic: &Topic) -> bool {
        self.callers
            .get(topic)
            .is_some_and(|callers| callers.ids.contains(&id))
    }

    /// The topic is live at its new home, was left, or was refused. Returns the gap when no other topic is moving.
    pub fn arrived(&mut self, topic: &Topic) -> Option<Gap> {
        let Moving { since, node, .. } = self.moving.remove(topic)?;
        let earliest = match self.gap_from.take() {
            Some(earlier) if earlier.0 <= since => earlier,
            _ => (since, node),
        };
        if !self.moving.is_empty() {
            self.gap_from = Some(earliest);
            return None;
        }
        let (from, node) = earliest;
        Some(of_home(Gap::until_now(from, Some(node))))
    }

    /// Topics were live at a server that has become another's, or at none: they have missed messages since a moment.
    pub fn miss<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a Topic>,
        since: SystemTime,
        node: &EndpointName,
    ) {
        for topic in topics {
            let (node, channel) = (node.clone(), topic.clone());
            let moving = Moving { since, node, channel };
            self.moving.insert(topic.clone(), moving);
        }
    }

    /// Topics that are on their way may have missed messages since a moment.
    pub fn widen(&mut self, topics: &[Topic], since: SystemTime) {
        for topic in topics {
            if let Some(moving) = self.moving.get_mut(topic) {
                moving.since = moving.since.min(since);
            }
        }
    }

    /// Takes the messages of the subscriber's own channels.
    fn hear_own(&mut self, backlog: &mut Backlog) {
        let heard = RefCell::new(Vec::new());
        backlog.forget(|message| {
            let name = TopicName::of(message);
            let topic = self.own.keys().find(|topic| name.equivalent(*topic));
            heard.borrow_mut().extend(topic.cloned());
            topic.is_some()
        });
        for topic in heard.into_inner() {
            let signals = self.own.get_mut(&topic);
            signals
                .and_then(|signals| signals.heard.take())
                .map(|told| told.send(()));
        }
    }
}

/// A gap of what is subscribed at a home. It begins earlier, as messages that others had published may have been on the bus.
fn of_home(gap: Gap) -> Gap {
    Gap {
        from: gap.from - BUS_TIMEOUT,
        is_of_node: true,
        ..gap
    }
}

impl ClusterListener {
    /// These topics were left while they crossed by a channel, so the gap must not wait for them. It waits for those that cross anew.
    pub fn forget(&self, topics: &[&Topic], channel: &Topic) {
        let mut batch = CompletionBatch::default();
        let mut awaited = self.awaited.lock();
        for topic in topics {
            let moving = awaited.moving.get(*topic);
            if moving.is_some_and(|moving| moving.channel == *channel)
                && let Some(gap) = awaited.arrived(topic)
            {
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

impl Listener for ClusterListener {
    fn put(&self, mut batch: CompletionBatch) {
        batch.answers.retain(|answer| answer.id != UNUSED);
        batch.gap = batch.gap.map(of_home);
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
        for event in std::mem::take(&mut batch.events) {
            if let Event::Unsubscribed { topic, .. } = &event {
                // A user that may not use the channel does without it.
                if awaited.own.remove(topic).is_some() {
                    continue;
                }
                if let Some(gap) = awaited.arrived(topic) {
                    batch.push_gap(gap);
                }
                awaited.refused.push(topic.clone());
            }
            if let Event::Reconnecting { .. } = &event {
                self.lost.notify_one();
            }
            let mut is_told = false;
            if let Event::Unsubscribed { topic, error } = &event {
                let Callers { ids, are_alone } = awaited.take_callers(topic);
                is_told = are_alone;
                for id in ids {
                    batch.failed(id, error.clone());
                }
            }
            // Callers that nothing else keeps the topic for are told by their answers alone.
            if !is_told {
                batch.events.push(event);
            }
        }
        if !awaited.own.is_empty() {
            awaited.hear_own(&mut batch.backlog);
        }
        drop(awaited);
        self.put_unless_empty(batch);
    }

    fn skip(&self, channel: &[u8], received: &[u8]) -> Skipped {
        if self.awaited.lock().own.is_empty() {
            self.listener.skip(channel, received)
        } else {
            Skipped::default()
        }
    }

    fn subscribed(&self, topic: &Topic) {
        if let Some(signals) = self.awaited.lock().own.get_mut(topic) {
            signals.subscribed.take().map(|told| told.send(()));
            return;
        }
        self.listener.subscribed(topic);
        let mut batch = CompletionBatch::default();
        let mut awaited = self.awaited.lock();
        for id in awaited.take_callers(topic).ids {
            batch.done(id);
        }
        if let Some(gap) = awaited.arrived(topic) {
            batch.push_gap(gap);
        }
        drop(awaited);
        self.put_unless_empty(batch);
    }

    fn departed(&self, departure: &Departure, topics: &HashSet<Topic>, since: SystemTime, is_refused: bool) {
        let mut awaited = self.awaited.lock();
        let Awaited { own, moving, .. } = &mut *awaited;
        for topic in topics {
            let moving = moving.entry(topic.clone()).or_insert_with(|| Moving {
                since,
                node: departure.node.clone(),
                channel: departure.channel.clone(),
            });
            moving.since = moving.since.min(since);
            moving.channel = departure.channel.clone();
        }
        // The new home may have refused the channel.
        if let Some(signals) = own.get_mut(&departure.channel) {
            signals.departed.take().map(|told| told.send(()));
            if is_refused {
                signals.heard = None;
            }
        }
        drop(awaited);
        if !topics.is_empty() {
            self.listener.gap_began();
        }
    }

    fn displaced(&self) {
        self.displaced.notify_one();
    }

    fn gap_began(&self) {
        self.listener.gap_began();
    }
}
