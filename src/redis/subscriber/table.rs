//! One table of topics: who listens to each, and its state on the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::backlog::Message;
use crate::error::Error;
use crate::redis::completions::Event;
use crate::redis::endpoint::EndpointName;
use crate::redis::protocol::published::{Skipped, published};
use crate::redis::request::{Asker, Id, Request, Subject, Subscription, Topic, TopicName};
use crate::redis::subscriber::entry::{Priority, Registration, Status, TopicEntry};
use crate::redis::subscriber::listener::{Deliveries, Kept, Listener, TopicState};

/// The size of a batch.
pub const BATCH: usize = 500;

#[derive(Default)]
pub struct Table {
    pub(super) topics: HashMap<Topic, TopicEntry, RandomState>,
    pub listeners: HashMap<usize, Arc<dyn Listener>, RandomState>,
    /// Topics whose slot the server has lost. They are asked for again while no other home is known.
    pub(super) displaced: HashSet<Topic, RandomState>,
    /// Topics that wait for a batch. It may hold topics that need none by now; `ask` skips them.
    pub(super) queued: VecDeque<Topic>,
    /// The number of the table's last request.
    requests: u32,
    /// How many of the table's requests are unanswered.
    pub(super) unanswered: usize,
    pub(super) gap: Option<OpenGap>,
}

/// A gap that has begun.
pub struct OpenGap {
    pub(super) from: SystemTime,
    /// The server that was heard before.
    pub(super) node: Option<EndpointName>,
    /// The master is another one: until then publishers may use the one before, whatever is subscribed.
    pub(super) until: Option<Instant>,
}

impl OpenGap {
    pub fn new(from: SystemTime, node: Option<EndpointName>) -> Self {
        Self {
            from,
            node,
            until: None,
        }
    }
}

/// What a listener that subscribes has to wait for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wait {
    /// The topic is live.
    Nothing,
    /// A request that was sent before.
    Request(Id),
    /// A new request.
    NewRequest,
}

/// What to tell the server, after the answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum FollowUp {
    Nothing,
    /// The topic has no listener left.
    Unsubscribe,
    /// A listener keeps the topic.
    Subscribe,
}

/// Desired: who listens.
impl Table {
    pub fn subscribe(&mut self, number: usize, topic: &Topic) -> Wait {
        let entry = self.topics.entry(topic.clone()).or_default();
        let is_live = entry.status == Status::Live;
        entry.register(number).hears |= is_live;
        match entry.request {
            _ if is_live => Wait::Nothing,
            Some(request) => Wait::Request(request),
            None => Wait::NewRequest,
        }
    }

    /// The request of a listener for a topic was sent.
    pub fn requested(&mut self, topic: &Topic, request: Id) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.request = Some(request);
        }
    }

    /// Keeps a topic on every connection, and its state from this call on. True if it is new.
    pub fn keep(&mut self, number: usize, topic: &Topic, priority: Priority, state: Arc<TopicState>) -> bool {
        let mut is_new = false;
        let entry = self.topics.entry(topic.clone()).or_insert_with(|| {
            is_new = true;
            TopicEntry {
                status: Status::Due(0),
                priority,
                ..TopicEntry::default()
            }
        });
        let is_live = entry.status == Status::Live;
        let registration = entry.register(number);
        registration.kept = Some(state);
        if let Some(listener) = self.listeners.get(&number) {
            if is_live {
                registration.set(Kept::Live);
                listener.subscribed(topic);
            }
            if self.displaced.contains(topic) {
                // Those who were told may leave before they have it asked for again.
                listener.displaced();
            }
        }
        is_new
    }

    /// A listener leaves a topic because its home moves. True as for `unsubscribe`.
    pub fn depart(&mut self, number: usize, topic: &Topic) -> bool {
        let entry = self.topics.get(topic);
        let registrations = entry.iter().flat_map(|entry| &entry.registrations);
        for registration in registrations.filter(|each| each.listener == number) {
            registration.set(Kept::Interrupted);
        }
        self.unsubscribe(number, topic)
    }

    /// A listener leaves a topic. True if it was the last listener, and the server may have the subscription.
    pub fn unsubscribe(&mut self, number: usize, topic: &Topic) -> bool {
        let Some(entry) = self.topics.get_mut(topic) else {
            return false;
        };
        entry.registrations.retain(|each| each.listener != number);
        if !entry.registrations.is_empty() {
            return false;
        }
        let is_there = entry.status != Status::Due(0);
        self.topics.remove(topic);
        self.displaced.remove(topic);
        is_there
    }

    pub fn has(&self, number: usize, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.has(number))
    }

    /// Whether no other listener has the topic.
    pub fn has_alone(&self, number: usize, topic: &Topic) -> bool {
        let registrations = self.topics.get(topic).map(|entry| &entry.registrations[..]);
        matches!(registrations, Some([only]) if only.listener == number)
    }

    pub(super) fn registrations_mut(&mut self) -> impl Iterator<Item = &mut Registration> {
        let entries = self.topics.values_mut();
        entries.flat_map(|entry| &mut entry.registrations)
    }

    pub fn topics_of(&self, number: usize) -> Vec<Topic> {
        let entries = self.topics.iter().filter(|(_, entry)| entry.has(number));
        entries.map(|(topic, _)| topic.clone()).collect()
    }

    /// Whether a request subscribes a topic that has no listener left, or that has a later request.
    pub fn is_left(&self, request: &Request) -> bool {
        let Subject::Subscription(subscription) = &request.subject else {
            return false;
        };
        let entry = self.topics.get(&subscription.topic);
        entry.is_none_or(|entry| entry.status == Status::New && !entry.is_asked_by(subscription.asker))
    }
}

/// Confirmed: what the server says.
impl Table {
    /// The server has confirmed a request. None if nobody wants the topic; else whether this request made it live.
    pub fn confirmed(&mut self, Subscription { topic, asker }: &Subscription) -> Option<bool> {
        let entry = self.topics.get_mut(topic)?;
        let is_live = entry.is_asked_by(*asker);
        if is_live {
            entry.status = Status::Live;
            for registration in entry.registrations.iter().filter(|each| each.is_kept()) {
                registration.set(Kept::Live);
                if let Some(listener) = self.listeners.get(&registration.listener) {
                    listener.subscribed(topic);
                }
            }
        }
        Some(is_live)
    }

    /// The listeners' request for a topic was answered; `waiting` are those who awaited it.
    pub fn answered(&mut self, request: Id, topic: &Topic, is_live: bool, waiting: &[usize]) -> FollowUp {
        let entry = self.topics.get_mut(topic);
        let Some(entry) = entry.filter(|entry| entry.request == Some(request)) else {
            return FollowUp::Nothing;
        };
        entry.request = None;
        for registration in &mut entry.registrations {
            registration.hears |= is_live && waiting.contains(&registration.listener);
        }
        entry.registrations.retain(|each| each.hears || each.is_kept());
        let is_new = entry.status == Status::New;
        if entry.registrations.is_empty() {
            self.topics.remove(topic);
            return if is_new {
                FollowUp::Nothing
            } else {
                FollowUp::Unsubscribe
            };
        }
        if !is_new {
            return FollowUp::Nothing;
        }
        (entry.status, entry.priority) = (Status::Due(0), Priority::First);
        FollowUp::Subscribe
    }

    /// The server has refused the table's request. Returns the listeners' open request, if there is one, which is void. None if the
    /// topic has no listener, or the table has sent a later request.
    pub fn refused(
        &mut self,
        Subscription { topic, asker }: &Subscription,
        error: &Error,
        deliveries: &mut Deliveries,
    ) -> Option<Option<Id>> {
        if !self.topics.get(topic)?.is_asked_by(*asker) {
            return None;
        }
        let TopicEntry {
            registrations,
            request,
            ..
        } = self.topics.remove(topic)?;
        for registration in registrations {
            registration.set(Kept::Refused(error.clone()));
            let number = registration.listener;
            if let Some(listener) = self.listeners.get(&number) {
                let (topic, error) = (topic.clone(), error.clone());
                let batch = deliveries.to(number, listener);
                batch.events.push(Event::Unsubscribed { topic, error });
                self.last_gap(&registration)
                    .into_iter()
                    .for_each(|gap| batch.push_gap(gap));
            }
        }
        Some(request)
    }

    /// The server runs a script. What the table has asked for is asked again with the next batch.
    pub fn postpone(&mut self, Subscription { topic, asker }: &Subscription) {
        let entry = self.topics.get_mut(topic);
        if let Some(entry) = entry.filter(|entry| matches!(entry.status, Status::Due(_)))
            && entry.is_asked_by(*asker)
        {
            entry.status = Status::Due(0);
            self.queued.push_back(topic.clone());
        }
    }

    /// A message for the listeners of its topic.
    pub fn message(&self, message: Message, is_of_shard: bool, deliveries: &mut Deliveries) {
        let name = if is_of_shard {
            TopicName::of_shard(&message.channel)
        } else {
            TopicName::of(&message)
        };
        let entry = self
            .topics
            .get(&name)
            .filter(|entry| entry.status == Status::Live);
        let Some((latest, others)) = entry.and_then(|entry| entry.registrations.split_last()) else {
            return;
        };
        for Registration { listener: number, .. } in others {
            if let Some(listener) = self.listeners.get(number) {
                deliveries.to(*number, listener).backlog.push(message.clone());
            }
        }
        if let Some(listener) = self.listeners.get(&latest.listener) {
            deliveries.to(latest.listener, listener).backlog.push(message);
        }
    }

    /// Messages at the front of what was received that the only listener of their channel does not want. Where several listen, each gets all.
    pub fn skip(&self, received: &[u8]) -> Skipped {
        let listener_of = |channel| {
            let entry = self.topics.get(&TopicName::of_channel(channel))?;
            let [registration] = &entry.registrations[..] else {
                return None;
            };
            self.listeners.get(&registration.listener)
        };
        let first = published(received);
        first
            .and_then(|message| Some(listener_of(message.channel)?.skip(message.channel, received)))
            .unwrap_or_default()
    }
}

/// Reconciliation: what the server is asked for anew.
impl Table {
    /// There is no connection. True if anything was subscribed: then a gap is open, an earlier one or one that begins at `gap_from`.
    pub fn lost(&mut self, gap_from: SystemTime, node: Option<EndpointName>) -> bool {
        self.unanswered = 0;
        self.queued.clear();
        self.displaced.clear();
        let mut opens_gap = false;
        for entry in self.topics.values_mut() {
            if entry.status != Status::New {
                entry.status = Status::Due(0);
                opens_gap = true;
            }
        }
        if opens_gap {
            self.gap.get_or_insert(OpenGap::new(gap_from, node));
            for registration in self.registrations_mut() {
                registration.set(Kept::Interrupted);
                registration.misses |= registration.may_miss();
            }
            for (number, listener) in &self.listeners {
                if self.misses(*number) {
                    listener.gap_began();
                }
            }
        }
        opens_gap
    }

    /// The topics to subscribe first on a new connection; `request_answered` counts their answers. The others wait for a batch.
    pub fn due(&mut self, now: Instant) -> Vec<Subscription> {
        self.queued.clear();
        let mut first = Vec::new();
        for (topic, entry) in &self.topics {
            match entry.priority {
                _ if entry.status != Status::Due(0) => {}
                Priority::First => first.push(topic.clone()),
                Priority::Batched => self.queued.push_back(topic.clone()),
            }
        }
        let due = first.iter().filter_map(|topic| self.ask(topic)).collect();
        if self.unanswered == 0 && self.queued.is_empty() && self.gap_lasts_until(now).is_none() {
            // All topics that could have missed a message have been unsubscribed, and what is subscribed from now on misses none.
            self.gap = None;
        }
        due
    }

    /// The request for a topic that is newly kept; nothing if it waits for a batch.
    pub fn due_now(&mut self, topic: &Topic) -> Option<Subscription> {
        let entry = self.topics.get(topic);
        let is_batched = entry.is_some_and(|entry| entry.priority == Priority::Batched);
        if is_batched && (!self.queued.is_empty() || self.unanswered >= BATCH) {
            self.queued.push_back(topic.clone());
            return None;
        }
        self.ask(topic)
    }

    /// The next batch of topics.
    pub fn next_batch(&mut self) -> Vec<Subscription> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(topic) = self.queued.pop_front()
        {
            batch.extend(self.ask(&topic));
        }
        batch
    }

    pub fn has_batches(&self) -> bool {
        !self.queued.is_empty()
    }

    fn ask(&mut self, topic: &Topic) -> Option<Subscription> {
        let entry = self
            .topics
            .get_mut(topic)
            .filter(|entry| entry.status == Status::Due(0))?;
        self.requests = self.requests.wrapping_add(1).max(1);
        entry.status = Status::Due(self.requests);
        self.unanswered += 1;
        Some(Subscription {
            topic: topic.clone(),
            asker: Asker::Table(self.requests),
        })
    }

    /// A request of the table's was answered.
    pub fn request_answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }
}
