//! The subscribing connection to a server: one for all of the process that subscribe there with the same configuration.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap, HashSet};
use parking_lot::Mutex;

use super::config::Config;
use super::link::{Link, Outlet};
use super::mailbox::{Answer, Event, Mail, Mailbox};
use super::pipeline::{Health, Pipeline, Role};
use super::request::{Id, Topic, TopicName};
use super::resp::{self, Skipped};
use super::subscriptions::Turn;
use crate::backlog::Backlog;
use crate::error::{Error, Reason, Result};

/// The hubs with members. Locked before any pipeline.
static HUBS: Mutex<Vec<Arc<Hub>>> = Mutex::new(Vec::new());

/// What a member is told. Called while the pipeline is locked.
pub trait Member: Send + Sync {
    fn put(&self, mail: Mail);

    /// Messages of a channel at the front of what was received that it has no use for, if it alone listens there: they are not put.
    fn skip(&self, _channel: &[u8], _received: &[u8]) -> Skipped {
        Skipped::default()
    }

    /// Messages of a topic that is kept come from now on; those in the mail that follows are the first.
    fn subscribed(&self, _topic: &Topic) {}

    /// From now on messages may be missed, until a gap is told.
    fn missing(&self) {}
}

impl Member for Mailbox {
    fn put(&self, mut mail: Mail) {
        mail.backlog.detach();
        self.put(mail);
    }
}

struct Hub {
    link: Arc<Link>,
    router: Arc<Router>,
}

/// One who subscribes. Leaves when it is dropped.
pub struct Membership {
    hub: Arc<Hub>,
    number: usize,
}

impl Membership {
    /// Joins those who subscribe with such a configuration. The connection is opened with the first.
    pub fn join(config: &Arc<Config>, member: Arc<dyn Member>) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut hubs = HUBS.lock();
        let hub = match hubs.iter().find(|hub| hub.link.config == *config) {
            Some(hub) => hub.clone(),
            None => {
                let router = Arc::<Router>::default();
                let link = Link::new(Role::Subscriptions, config.clone(), router.clone())?;
                link.start();
                let hub = Arc::new(Hub { link, router });
                hubs.push(hub.clone());
                hub
            }
        };
        hub.with(|routes, _| routes.join(number, member));
        Ok(Self { hub, number })
    }

    /// Answers `id` once messages come.
    pub fn subscribe(&self, id: Id, topic: &Topic) {
        self.hub
            .with(|routes, pipeline| routes.subscribe(self.number, id, topic, pipeline));
    }

    /// Has a topic subscribed for as long as it takes: only a server that refuses ends that, with an event.
    pub fn keep(&self, topic: &Topic) {
        self.hub
            .with(|routes, pipeline| routes.keep(self.number, topic, Turn::First, pipeline));
    }

    /// The same for topics of which there may be thousands: after a loss they are subscribed again behind the others, a batch at a time.
    pub fn keep_in_turn(&self, topics: &[Topic]) {
        self.hub.with(|routes, pipeline| {
            for topic in topics {
                routes.keep(self.number, topic, Turn::Later, pipeline);
            }
        });
    }

    /// Answers `id`, if there is one, once no messages come any more for want of another listener. `left` is done within: what has
    /// been put until then is all that comes.
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        self.hub.with(|routes, pipeline| {
            left();
            routes.unsubscribe(self.number, id, topic, pipeline);
        });
    }

    /// How the connection does.
    pub fn health(&self) -> Health {
        self.hub.with(|_, pipeline| pipeline.health())
    }

    /// Answers `id` once nothing that it subscribed alone is any more. The last one to leave closes the connection.
    pub fn leave(&self, id: Id) {
        let mut hubs = HUBS.lock();
        let Some(asked) = self
            .hub
            .with(|routes, pipeline| routes.leave(self.number, id, pipeline))
        else {
            return;
        };
        hubs.retain(|hub| !Arc::ptr_eq(hub, &self.hub));
        self.hub.link.close(asked);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut hubs = HUBS.lock();
        let was_last = self.hub.with(|routes, pipeline| {
            let was_member = routes.remove(self.number, pipeline);
            was_member && routes.members.is_empty()
        });
        if was_last {
            hubs.retain(|hub| !Arc::ptr_eq(hub, &self.hub));
            self.hub.link.abandon();
        }
    }
}

impl Hub {
    fn with<R>(&self, work: impl FnOnce(&mut Routes, &mut Pipeline) -> R) -> R {
        self.link
            .with(|pipeline| work(&mut self.router.routes.lock(), pipeline))
    }
}

/// Only locked within the pipeline, and never waited for there.
#[derive(Default)]
struct Router {
    routes: Mutex<Routes>,
}

impl Outlet for Router {
    fn put(&self, mail: Mail, pipeline: &mut Pipeline) {
        self.routes.lock().put(mail, pipeline);
    }

    fn skip(&self, received: &[u8]) -> Skipped {
        self.routes.lock().skip(received)
    }
}

/// One who is to be told an answer, also if it has left in the meantime.
struct Waiter {
    number: usize,
    member: Arc<dyn Member>,
    id: Id,
}

/// A request of the hub's own.
struct Asked {
    /// What it subscribes, if it does.
    topic: Option<Topic>,
    waiters: Vec<Waiter>,
}

struct Listener {
    number: usize,
    /// It stays subscribed whatever becomes of a request.
    kept: bool,
    /// Messages have come, and so may be missed.
    hears: bool,
}

#[derive(Default)]
struct Route {
    listeners: Vec<Listener>,
    /// The request that is to subscribe it.
    pending: Option<Id>,
}

#[derive(Default)]
pub(super) struct Routes {
    members: HashMap<usize, Arc<dyn Member>, RandomState>,
    topics: HashMap<Topic, Route, RandomState>,
    asked: HashMap<Id, Asked, RandomState>,
    next: Id,
    /// Who is to be told of the gap that is going on.
    missing: HashSet<usize, RandomState>,
}

impl Routes {
    pub(super) fn join(&mut self, number: usize, member: Arc<dyn Member>) {
        self.members.insert(number, member);
    }

    pub(super) fn subscribe(&mut self, number: usize, id: Id, topic: &Topic, pipeline: &mut Pipeline) {
        let Some(waiter) = self.waiter(number, id) else {
            return;
        };
        let route = self.topics.entry(topic.clone()).or_default();
        route.listener(number);
        if let Some(asked) = route.pending.and_then(|pending| self.asked.get_mut(&pending)) {
            asked.waiters.push(waiter);
            return;
        }
        let asked = self.ask(Some(topic.clone()), waiter);
        self.topics.entry(topic.clone()).or_default().pending = Some(asked);
        pipeline.subscribe(asked, topic.clone(), Instant::now());
    }

    pub(super) fn keep(&mut self, number: usize, topic: &Topic, turn: Turn, pipeline: &mut Pipeline) {
        let route = self.topics.entry(topic.clone()).or_default();
        route.listener(number).kept = true;
        if pipeline.is_live(topic) {
            self.subscribed(topic);
        } else {
            pipeline.keep(topic, turn, Instant::now());
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        number: usize,
        id: Option<Id>,
        topic: &Topic,
        pipeline: &mut Pipeline,
    ) {
        let waiter = id.and_then(|id| self.waiter(number, id));
        if self.remove_listener(number, topic) {
            let asked = waiter.map(|waiter| self.ask(None, waiter));
            pipeline.unsubscribe(asked, topic, Instant::now());
        } else if let Some(waiter) = waiter {
            waiter.done();
        }
    }

    /// The request that is to close the connection, if the last member leaves.
    pub(super) fn leave(&mut self, number: usize, id: Id, pipeline: &mut Pipeline) -> Option<Id> {
        let waiter = self.waiter(number, id)?;
        let topics = self.topics_of(number);
        let closing = self.members.len() == 1;
        if !pipeline.is_connected() {
            self.fail_waiting(number);
        }
        for (index, topic) in topics.iter().enumerate() {
            // The server answers in order: with the last one all are left.
            let asks = !closing && index == topics.len() - 1;
            self.unsubscribe(number, asks.then_some(id), topic, pipeline);
        }
        self.members.remove(&number);
        if closing {
            return Some(self.ask(None, waiter));
        }
        if topics.is_empty() {
            waiter.done();
        }
        None
    }

    /// What a member that leaves still waits for will not be.
    fn fail_waiting(&mut self, number: usize) {
        for asked in self.asked.values_mut() {
            for waiter in asked.waiters.extract_if(.., |waiter| waiter.number == number) {
                let mut mail = Mail::default();
                mail.failed(
                    waiter.id,
                    Error::because(Reason::Unanswered, "The store was disconnected"),
                );
                waiter.member.put(mail);
            }
        }
    }

    /// False if it had left already.
    fn remove(&mut self, number: usize, pipeline: &mut Pipeline) -> bool {
        for topic in self.topics_of(number) {
            self.unsubscribe(number, None, &topic, pipeline);
        }
        self.members.remove(&number).is_some()
    }

    pub(super) fn put(&mut self, mail: Mail, pipeline: &mut Pipeline) {
        let mut deliveries = Deliveries::default();
        for event in mail.events {
            self.happened(event, &mut deliveries);
        }
        self.route(mail.backlog, &mut deliveries);
        for answer in mail.answers {
            self.answered(answer, &mut deliveries, pipeline);
        }
        if let Some(gap) = mail.gap {
            for number in mem::take(&mut self.missing) {
                if let Some(member) = self.members.get(&number) {
                    deliveries.to(number, member).missed(gap);
                }
            }
        }
        // In the order in which they joined: a store's callbacks of all kinds are told of a gap behind its messages.
        let mut deliveries: Vec<_> = deliveries.0.into_iter().collect();
        deliveries.sort_unstable_by_key(|(number, _)| *number);
        for (_, (member, mail)) in deliveries {
            member.put(mail);
        }
    }

    /// Where several listen, each gets all and is asked for itself.
    pub(super) fn skip(&self, received: &[u8]) -> Skipped {
        let member_of = |channel| {
            let route = self.topics.get(&TopicName::of_channel(channel))?;
            let [listener] = &route.listeners[..] else {
                return None;
            };
            self.members.get(&listener.number)
        };
        let first = resp::published(received);
        first
            .and_then(|message| Some(member_of(message.channel)?.skip(message.channel, received)))
            .unwrap_or_default()
    }

    fn happened(&mut self, event: Event, deliveries: &mut Deliveries) {
        match event {
            Event::Subscribed { topic } => self.subscribed(&topic),
            Event::Missing => self.lost(),
            Event::Unsubscribed { topic, error } => {
                let route = self.topics.remove(&topic).unwrap_or_default();
                // Whatever comes of a request for it that is under way, it is not subscribed.
                let asked = route.pending.and_then(|pending| self.asked.remove(&pending));
                for Waiter { number, member, id } in asked.into_iter().flat_map(|asked| asked.waiters) {
                    deliveries.to(number, &member).failed(id, error.clone());
                }
                for Listener { number, .. } in route.listeners {
                    let Some(member) = self.members.get(&number) else {
                        continue;
                    };
                    let (topic, error) = (topic.clone(), error.clone());
                    let events = &mut deliveries.to(number, member).events;
                    events.push(Event::Unsubscribed { topic, error });
                }
            }
            Event::Ready(_) | Event::Reconnecting { .. } => {
                for (number, member) in &self.members {
                    deliveries.to(*number, member).events.push(event.clone());
                }
            }
        }
    }

    fn subscribed(&self, topic: &Topic) {
        let Some(route) = self.topics.get(topic) else {
            return;
        };
        for listener in route.listeners.iter().filter(|listener| listener.kept) {
            if let Some(member) = self.members.get(&listener.number) {
                member.subscribed(topic);
            }
        }
    }

    fn lost(&mut self) {
        let listeners = self.topics.values().flat_map(|route| &route.listeners);
        let may_miss = listeners.filter(|listener| listener.kept || listener.hears);
        self.missing.extend(may_miss.map(|listener| listener.number));
        for member in self.missing.iter().filter_map(|number| self.members.get(number)) {
            member.missing();
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
                .or_else(|| self.topics.get_key_value(&name));
            let listeners = last.map(|(_, route)| &route.listeners[..]).unwrap_or_default();
            let Some((latest, others)) = listeners.split_last() else {
                continue;
            };
            for Listener { number, .. } in others {
                if let Some(member) = self.members.get(number) {
                    deliveries.to(*number, member).backlog.push(message.clone());
                }
            }
            if let Some(member) = self.members.get(&latest.number) {
                deliveries.to(latest.number, member).backlog.push(message);
            }
        }
        if dropped > 0 {
            for (number, member) in &self.members {
                deliveries.to(*number, member).backlog.drop_more(dropped);
            }
        }
    }

    fn answered(&mut self, answer: Answer, deliveries: &mut Deliveries, pipeline: &mut Pipeline) {
        let Some(Asked { topic, waiters }) = self.asked.remove(&answer.id) else {
            return;
        };
        let outcome = answer.outcome.map(drop);
        if let Some(topic) = topic {
            let numbers: Vec<_> = waiters.iter().map(|waiter| waiter.number).collect();
            self.settle(answer.id, &topic, outcome.is_ok(), &numbers, pipeline);
        }
        for Waiter { number, member, id } in waiters {
            let mail = deliveries.to(number, &member);
            match &outcome {
                Ok(()) => mail.done(id),
                Err(error) => mail.failed(id, error.clone()),
            }
        }
    }

    /// A request that was to subscribe a topic has been answered.
    fn settle(
        &mut self,
        asked: Id,
        topic: &Topic,
        is_live: bool,
        waiting: &[usize],
        pipeline: &mut Pipeline,
    ) {
        let route = self.topics.get_mut(topic);
        let Some(route) = route.filter(|route| route.pending == Some(asked)) else {
            return;
        };
        route.pending = None;
        for listener in &mut route.listeners {
            listener.hears |= is_live && waiting.contains(&listener.number);
        }
        route.listeners.retain(|listener| listener.hears || listener.kept);
        if route.listeners.is_empty() {
            self.topics.remove(topic);
            if pipeline.is_subscribed(topic) {
                pipeline.unsubscribe(None, topic, Instant::now());
            }
        } else if !is_live && route.listeners.iter().any(|listener| listener.kept) {
            pipeline.keep(topic, Turn::First, Instant::now());
        }
    }

    /// True if it was the last one.
    fn remove_listener(&mut self, number: usize, topic: &Topic) -> bool {
        let Some(route) = self.topics.get_mut(topic) else {
            return false;
        };
        route.listeners.retain(|listener| listener.number != number);
        let was_last = route.listeners.is_empty();
        if was_last {
            self.topics.remove(topic);
        }
        if !self.topics.values().any(|route| route.has(number)) {
            self.missing.remove(&number);
        }
        was_last
    }

    fn topics_of(&self, number: usize) -> Vec<Topic> {
        let topics = self.topics.iter().filter(|(_, route)| route.has(number));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    fn waiter(&self, number: usize, id: Id) -> Option<Waiter> {
        let member = self.members.get(&number)?.clone();
        Some(Waiter { number, member, id })
    }

    fn ask(&mut self, topic: Option<Topic>, waiter: Waiter) -> Id {
        self.next = self.next.wrapping_add(1);
        let waiters = vec![waiter];
        self.asked.insert(self.next, Asked { topic, waiters });
        self.next
    }
}

impl Route {
    fn has(&self, number: usize) -> bool {
        self.listeners.iter().any(|listener| listener.number == number)
    }

    fn listener(&mut self, number: usize) -> &mut Listener {
        let index = self
            .listeners
            .iter()
            .position(|listener| listener.number == number);
        let index = index.unwrap_or_else(|| {
            self.listeners.push(Listener {
                number,
                kept: false,
                hears: false,
            });
            self.listeners.len() - 1
        });
        &mut self.listeners[index]
    }
}

impl Waiter {
    fn done(self) {
        let mut mail = Mail::default();
        mail.done(self.id);
        self.member.put(mail);
    }
}

/// What each member gets.
#[derive(Default)]
struct Deliveries(HashMap<usize, (Arc<dyn Member>, Mail), RandomState>);

impl Deliveries {
    fn to(&mut self, number: usize, member: &Arc<dyn Member>) -> &mut Mail {
        let entry = self.0.entry(number);
        &mut entry.or_insert_with(|| (member.clone(), Mail::default())).1
    }
}
