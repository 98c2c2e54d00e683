//! Which listener has which topic, and what each of them gets of what came in.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap, HashSet};

use crate::backlog::Backlog;
use crate::error::{Error, Reason};
use crate::redis::completions::{Answer, CompletionBatch, Event};
use crate::redis::pipeline::Pipeline;
use crate::redis::pipeline::subscriptions::Subscriptions;
use crate::redis::pipeline::subscriptions::topics::Priority;
use crate::redis::protocol::published::{Skipped, published};
use crate::redis::request::{Id, Topic, TopicName};
use crate::redis::subscriber::listener::Listener;

#[derive(Default)]
pub struct RoutingTable {
    listeners: HashMap<usize, Arc<dyn Listener>, RandomState>,
    routes: HashMap<Topic, Route, RandomState>,
    pending: HashMap<Id, PendingRequest, RandomState>,
    next: Id,
    /// Listeners to tell of the gap that is open.
    missing: HashSet<usize, RandomState>,
}

/// The listeners of one topic.
#[derive(Default)]
struct Route {
    registrations: Vec<Registration>,
    /// The request that is to subscribe it.
    request: Option<Id>,
}

struct Registration {
    listener: usize,
    /// It stays subscribed, whatever a request's outcome.
    kept: bool,
    /// Messages have come, and so may be missed.
    hears: bool,
}

/// A request of the table's own.
struct PendingRequest {
    /// The topic that it subscribes, if it does.
    topic: Option<Topic>,
    waiters: Vec<Waiter>,
}

/// An answer that a listener awaits, also once it has left.
struct Waiter {
    number: usize,
    listener: Arc<dyn Listener>,
    id: Id,
}

impl RoutingTable {
    pub fn join(&mut self, number: usize, listener: Arc<dyn Listener>) {
        self.listeners.insert(number, listener);
    }

    pub fn subscribe(
        &mut self,
        number: usize,
        id: Id,
        topic: &Topic,
        pipeline: &mut Pipeline<Subscriptions>,
    ) {
        let Some(waiter) = self.waiter(number, id) else {
            return;
        };
        let route = self.routes.entry(topic.clone()).or_default();
        route.register(number);
        if let Some(pending) = route.request.and_then(|request| self.pending.get_mut(&request)) {
            pending.waiters.push(waiter);
            return;
        }
        let request = self.request(Some(topic.clone()), waiter);
        self.routes.entry(topic.clone()).or_default().request = Some(request);
        pipeline.subscribe(request, topic.clone(), Instant::now());
    }

    pub fn keep(
        &mut self,
        number: usize,
        topic: &Topic,
        priority: Priority,
        pipeline: &mut Pipeline<Subscriptions>,
    ) {
        let route = self.routes.entry(topic.clone()).or_default();
        route.register(number).kept = true;
        if pipeline.is_live(topic) {
            self.tell_subscribed(topic);
        } else {
            pipeline.keep(topic, priority, Instant::now());
        }
    }

    pub fn unsubscribe(
        &mut self,
        number: usize,
        id: Option<Id>,
        topic: &Topic,
        pipeline: &mut Pipeline<Subscriptions>,
    ) {
        let waiter = id.and_then(|id| self.waiter(number, id));
        if self.deregister(number, topic) {
            let request = waiter.map(|waiter| self.request(None, waiter));
            pipeline.unsubscribe(request, topic, Instant::now());
        } else if let Some(waiter) = waiter {
            waiter.done();
        }
    }

    /// Gives the request that is to close the connection, if the last listener leaves.
    pub fn leave(&mut self, number: usize, id: Id, pipeline: &mut Pipeline<Subscriptions>) -> Option<Id> {
        let waiter = self.waiter(number, id)?;
        let topics = self.topics_of(number);
        let closing = self.listeners.len() == 1;
        if !pipeline.is_connected() {
            self.fail_waiting(number);
        }
        for (index, topic) in topics.iter().enumerate() {
            // The server answers in order: the last answer stands for all.
            let asks = !closing && index == topics.len() - 1;
            self.unsubscribe(number, asks.then_some(id), topic, pipeline);
        }
        self.listeners.remove(&number);
        if closing {
            return Some(self.request(None, waiter));
        }
        if topics.is_empty() {
            waiter.done();
        }
        None
    }

    /// True if it was the last listener. False if it had left before.
    pub fn remove(&mut self, number: usize, pipeline: &mut Pipeline<Subscriptions>) -> bool {
        for topic in self.topics_of(number) {
            self.unsubscribe(number, None, &topic, pipeline);
        }
        self.listeners.remove(&number).is_some() && self.listeners.is_empty()
    }

    /// Fails what a leaving listener awaits.
    fn fail_waiting(&mut self, number: usize) {
        for pending in self.pending.values_mut() {
            for waiter in pending.waiters.extract_if(.., |waiter| waiter.number == number) {
                let mut batch = CompletionBatch::default();
                batch.failed(
                    waiter.id,
                    Error::because(Reason::Unanswered, "The store was disconnected"),
                );
                waiter.listener.put(batch);
            }
        }
    }

    /// Messages at the front of what was received that the only listener of their channel does not want. Where several listen, each gets all.
    pub fn skip(&self, received: &[u8]) -> Skipped {
        let listener_of = |channel| {
            let route = self.routes.get(&TopicName::of_channel(channel))?;
            let [registration] = &route.registrations[..] else {
                return None;
            };
            self.listeners.get(&registration.listener)
        };
        let first = published(received);
        first
            .and_then(|message| Some(listener_of(message.channel)?.skip(message.channel, received)))
            .unwrap_or_default()
    }

    pub fn put(&mut self, batch: CompletionBatch, pipeline: &mut Pipeline<Subscriptions>) {
        let mut deliveries = Deliveries::default();
        for event in batch.events {
            self.handle(event, &mut deliveries);
        }
        self.route(batch.backlog, &mut deliveries);
        for answer in batch.answers {
            self.answer(answer, &mut deliveries, pipeline);
        }
        if let Some(gap) = batch.gap {
            for number in mem::take(&mut self.missing) {
                if let Some(listener) = self.listeners.get(&number) {
                    deliveries.to(number, listener).missed(gap.clone());
                }
            }
        }
        deliveries.deliver();
    }

    fn handle(&mut self, event: Event, deliveries: &mut Deliveries) {
        match event {
            Event::Subscribed { topic } => self.tell_subscribed(&topic),
            Event::Missing => self.tell_missing(),
            Event::Unsubscribed { topic, error } => self.drop_route(&topic, &error, deliveries),
            Event::Ready { .. } | Event::Reconnecting { .. } | Event::ClusterFound => {
                for (number, listener) in &self.listeners {
                    deliveries.to(*number, listener).events.push(event.clone());
                }
            }
        }
    }

    /// The server has refused to subscribe a topic again.
    fn drop_route(&mut self, topic: &Topic, error: &Error, deliveries: &mut Deliveries) {
        let route = self.routes.remove(topic).unwrap_or_default();
        // A request for the topic that is in flight changes nothing any more.
        let pending = route.request.and_then(|request| self.pending.remove(&request));
        for waiter in pending.into_iter().flat_map(|pending| pending.waiters) {
            deliveries
                .to(waiter.number, &waiter.listener)
                .failed(waiter.id, error.clone());
        }
        for Registration { listener, .. } in route.registrations {
            if let Some(other) = self.listeners.get(&listener) {
                let (topic, error) = (topic.clone(), error.clone());
                let events = &mut deliveries.to(listener, other).events;
                events.push(Event::Unsubscribed { topic, error });
            }
        }
    }

    fn tell_subscribed(&self, topic: &Topic) {
        let Some(route) = self.routes.get(topic) else {
            return;
        };
        for registration in route.registrations.iter().filter(|each| each.kept) {
            if let Some(listener) = self.listeners.get(&registration.listener) {
                listener.subscribed(topic);
            }
        }
    }

    fn tell_missing(&mut self) {
        let registrations = self.routes.values().flat_map(|route| &route.registrations);
        let may_miss = registrations.filter(|each| each.kept || each.hears);
        self.missing.extend(may_miss.map(|each| each.listener));
        for listener in self
            .missing
            .iter()
            .filter_map(|number| self.listeners.get(number))
        {
            listener.missing();
        }
    }

    fn route(&self, backlog: Backlog, deliveries: &mut Deliveries) {
        let (messages, dropped) = backlog.into_parts();
        // Messages in a row mostly have one topic.
        let mut last: Option<(&Topic, &Route)> = None;
        for message in messages {
            let name = TopicName::of(&message.pattern, &message.channel);
            last = last
                .filter(|(topic, _)| name.equivalent(topic))
                .or_else(|| self.routes.get_key_value(&name));
            let registrations = last
                .map(|(_, route)| &route.registrations[..])
                .unwrap_or_default();
            let Some((latest, others)) = registrations.split_last() else {
                continue;
            };
            for Registration { listener, .. } in others {
                if let Some(other) = self.listeners.get(listener) {
                    deliveries.to(*listener, other).backlog.push(message.clone());
                }
            }
            if let Some(listener) = self.listeners.get(&latest.listener) {
                deliveries.to(latest.listener, listener).backlog.push(message);
            }
        }
        if dropped > 0 {
            for (number, listener) in &self.listeners {
                deliveries.to(*number, listener).backlog.drop_more(dropped);
            }
        }
    }

    fn answer(
        &mut self,
        answer: Answer,
        deliveries: &mut Deliveries,
        pipeline: &mut Pipeline<Subscriptions>,
    ) {
        let Some(PendingRequest { topic, waiters }) = self.pending.remove(&answer.id) else {
            return;
        };
        let outcome = answer.outcome.map(drop);
        if let Some(topic) = topic {
            let numbers: Vec<_> = waiters.iter().map(|waiter| waiter.number).collect();
            self.subscription_answered(answer.id, &topic, outcome.is_ok(), &numbers, pipeline);
        }
        for waiter in waiters {
            let batch = deliveries.to(waiter.number, &waiter.listener);
            match &outcome {
                Ok(()) => batch.done(waiter.id),
                Err(error) => batch.failed(waiter.id, error.clone()),
            }
        }
    }

    fn subscription_answered(
        &mut self,
        request: Id,
        topic: &Topic,
        is_live: bool,
        waiting: &[usize],
        pipeline: &mut Pipeline<Subscriptions>,
    ) {
        let route = self.routes.get_mut(topic);
        let Some(route) = route.filter(|route| route.request == Some(request)) else {
            return;
        };
        route.request = None;
        for registration in &mut route.registrations {
            registration.hears |= is_live && waiting.contains(&registration.listener);
        }
        route.registrations.retain(|each| each.hears || each.kept);
        if route.registrations.is_empty() {
            self.routes.remove(topic);
            if pipeline.is_subscribed(topic) {
                pipeline.unsubscribe(None, topic, Instant::now());
            }
        } else if !is_live && route.registrations.iter().any(|each| each.kept) {
            pipeline.keep(topic, Priority::First, Instant::now());
        }
    }

    /// True if the topic has no listener any more.
    fn deregister(&mut self, number: usize, topic: &Topic) -> bool {
        let Some(route) = self.routes.get_mut(topic) else {
            return false;
        };
        route.registrations.retain(|each| each.listener != number);
        let was_last = route.registrations.is_empty();
        if was_last {
            self.routes.remove(topic);
        }
        if !self.routes.values().any(|route| route.has(number)) {
            self.missing.remove(&number);
        }
        was_last
    }

    fn topics_of(&self, number: usize) -> Vec<Topic> {
        let routes = self.routes.iter().filter(|(_, route)| route.has(number));
        routes.map(|(topic, _)| topic.clone()).collect()
    }

    fn waiter(&self, number: usize, id: Id) -> Option<Waiter> {
        let listener = self.listeners.get(&number)?.clone();
        Some(Waiter { number, listener, id })
    }

    fn request(&mut self, topic: Option<Topic>, waiter: Waiter) -> Id {
        self.next = self.next.wrapping_add(1);
        let waiters = vec![waiter];
        self.pending.insert(self.next, PendingRequest { topic, waiters });
        self.next
    }
}

impl Route {
    fn has(&self, number: usize) -> bool {
        self.registrations.iter().any(|each| each.listener == number)
    }

    fn register(&mut self, number: usize) -> &mut Registration {
        let index = self.registrations.iter().position(|each| each.listener == number);
        let index = index.unwrap_or_else(|| {
            self.registrations.push(Registration {
                listener: number,
                kept: false,
                hears: false,
            });
            self.registrations.len() - 1
        });
        &mut self.registrations[index]
    }
}

impl Waiter {
    fn done(self) {
        let mut batch = CompletionBatch::default();
        batch.done(self.id);
        self.listener.put(batch);
    }
}

/// A batch for each listener.
#[derive(Default)]
struct Deliveries(HashMap<usize, (Arc<dyn Listener>, CompletionBatch), RandomState>);

impl Deliveries {
    fn to(&mut self, number: usize, listener: &Arc<dyn Listener>) -> &mut CompletionBatch {
        let entry = self.0.entry(number);
        &mut entry
            .or_insert_with(|| (listener.clone(), CompletionBatch::default()))
            .1
    }

    /// In the order in which the listeners joined: all handles of a store are told of a gap behind its messages.
    fn deliver(self) {
        let mut deliveries: Vec<_> = self.0.into_iter().collect();
        deliveries.sort_unstable_by_key(|(number, _)| *number);
        for (_, (listener, batch)) in deliveries {
            listener.put(batch);
        }
    }
}
