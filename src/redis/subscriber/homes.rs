//! Subscriptions in a cluster: each channel at its home, the master of its slot, where this package publishes too. So the order and the
//! number of receivers are right, and no message of ours depends on the bus between the nodes.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::refresh::topology_of;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::{Member, Topology};
use crate::redis::completions::CompletionBatch;
use crate::redis::config::{Config, Target};
use crate::redis::connection::backoff::jitter;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::Health;
use crate::redis::request::{Id, Kind, Topic};
use crate::redis::runtime;
use crate::redis::slot::{Slot, slot_of};
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::ear::{Crossing, Ear, LEFT, UNUSED};
use crate::redis::subscriber::listener::{Listener, TopicState};

/// Patterns have no slot: all are at one node, which hears the channels of the others by the bus.
const HOME_OF_PATTERNS: Slot = 0;
/// How long topics wait for the bus between two homes.
const LONGEST_CROSSING: Duration = Duration::from_millis(500);
/// The same where the old home cannot be asked: what it had published is there by then, or was lost with it.
const LONGEST_ON_BUS: Duration = Duration::from_millis(100);

pub struct ClusterSubscriber {
    config: Arc<Config>,
    runtime: &'static Runtime,
    topology: Arc<Topology>,
    ear: Arc<Ear>,
    /// Locked before any pipeline.
    state: Mutex<State>,
    this: Weak<Self>,
}

#[derive(Default)]
struct State {
    map: Option<Arc<SlotMap>>,
    homes: HashMap<Endpoint, Arc<SubscriberHandle>>,
    topics: HashMap<Topic, Desired>,
    /// Homes that topics are leaving: each once for each crossing.
    left: Vec<Endpoint>,
}

/// A topic that is subscribed.
struct Desired {
    /// Where it is, once the map is known.
    home: Option<Endpoint>,
    /// There may be thousands: they are subscribed in batches, and their states are not asked for.
    is_batched: bool,
    state: Arc<TopicState>,
}

impl ClusterSubscriber {
    pub fn join(config: &Arc<Config>, listener: Arc<dyn Listener>) -> Result<Arc<Self>> {
        let topology = topology_of(config)?;
        let runtime = runtime::get()?;
        let subscriber = Arc::new_cyclic(|this| Self {
            config: config.clone(),
            runtime,
            topology,
            ear: Arc::new(Ear {
                listener,
                awaited: Mutex::default(),
            }),
            state: Mutex::default(),
            this: this.clone(),
        });
        let member: Arc<dyn Member> = subscriber.clone();
        subscriber.topology.add(Arc::downgrade(&member));
        if let Some(map) = subscriber.topology.map() {
            subscriber.apply(&map);
        }
        Ok(subscriber)
    }

    /// Answers `id` once messages come.
    pub fn subscribe(self: &Arc<Self>, id: Id, topic: &Topic) {
        let mut awaited = self.ear.awaited.lock();
        awaited.callers.entry(topic.clone()).or_default().push(id);
        drop(awaited);
        runtime::spawn(self.runtime, expire(Arc::downgrade(self), id, topic.clone()));
        self.keep(topic, Arc::default());
    }

    /// Keeps a topic subscribed, wherever its home is. `state` is that of the topic from this call on.
    pub fn keep(&self, topic: &Topic, state: Arc<TopicState>) {
        self.keep_all(std::slice::from_ref(topic), false, &state);
    }

    /// Keeps topics of which there may be thousands.
    pub fn keep_batched(&self, topics: &[Topic]) {
        self.keep_all(topics, true, &Arc::default());
    }

    fn keep_all(&self, topics: &[Topic], is_batched: bool, topic_state: &Arc<TopicState>) {
        let mut state = self.state.lock();
        for topic in topics {
            let home = state.topics.get(topic).and_then(|kept| kept.home.clone());
            let kept = Desired {
                home,
                is_batched,
                state: topic_state.clone(),
            };
            state.topics.insert(topic.clone(), kept);
        }
        self.place(&mut state, topics);
    }

    /// Subscribes topics at their homes; moves those that are elsewhere.
    fn place(&self, state: &mut State, topics: &[Topic]) {
        let State {
            map: Some(map),
            homes,
            topics: known,
            left,
        } = state
        else {
            return;
        };
        let mut arrivals: HashMap<Endpoint, Vec<Topic>> = HashMap::new();
        let mut crossings: HashMap<(Endpoint, Endpoint), Vec<Topic>> = HashMap::new();
        for topic in topics {
            let Some(kept) = known.get_mut(topic) else {
                continue;
            };
            let Some(endpoint) = map.owner(home_slot(topic)) else {
                continue;
            };
            match kept.home.replace(endpoint.clone()) {
                Some(old) if old != *endpoint => {
                    self.begin_move(topic, homes.get(&old).map(|old| &**old));
                    let topics = crossings.entry((old, endpoint.clone())).or_default();
                    topics.push(topic.clone());
                }
                _ => arrivals.entry(endpoint.clone()).or_default().push(topic.clone()),
            }
        }
        for ((old, endpoint), topics) in crossings {
            left.push(old.clone());
            let old = (homes.get(&old).cloned(), old);
            runtime::spawn(self.runtime, cross(self.this.clone(), old, endpoint, topics));
        }
        for (endpoint, topics) in arrivals {
            self.arrive(state, &endpoint, &topics);
        }
    }

    /// Subscribes topics at their home, if it still is.
    fn arrive(&self, state: &mut State, endpoint: &Endpoint, topics: &[Topic]) {
        let State {
            homes, topics: known, ..
        } = state;
        let Ok(home) = self.home(homes, endpoint) else {
            return;
        };
        let mut batch = Vec::new();
        for topic in topics {
            match known.get(topic) {
                Some(kept) if kept.home.as_ref() != Some(endpoint) => {}
                Some(kept) if !kept.is_batched => home.keep(topic, kept.state.clone()),
                Some(_) => batch.push(topic.clone()),
                None => {}
            }
        }
        home.keep_batched(&batch);
    }

    /// Returns once the new home has heard by the bus all that the old one had published when it was left: nothing comes twice then.
    async fn await_bus(&self, old: &SubscriberHandle, endpoint: &Endpoint, channel: &Topic) {
        let (subscribed, is_subscribed) = oneshot::channel();
        let (heard, is_heard) = oneshot::channel();
        let crossing = Crossing {
            subscribed: Some(subscribed),
            heard: Some(heard),
        };
        self.ear
            .awaited
            .lock()
            .crossings
            .insert(channel.clone(), crossing);
        if let Ok(home) = self.home(&mut self.state.lock().homes, endpoint) {
            home.keep(channel, Arc::default());
        }
        if is_subscribed.await.is_ok() {
            old.publish(&channel.name);
            // The sender is kept until then.
            let _ = is_heard.await;
        }
    }

    fn end_crossing(&self, endpoint: &Endpoint, channel: &Topic) {
        self.ear.awaited.lock().crossings.remove(channel);
        if let Some(home) = self.state.lock().homes.get(endpoint) {
            home.unsubscribe(None, channel, || {});
        }
    }

    fn home<'a>(
        &self,
        homes: &'a mut HashMap<Endpoint, Arc<SubscriberHandle>>,
        endpoint: &Endpoint,
    ) -> Result<&'a Arc<SubscriberHandle>> {
        if !homes.contains_key(endpoint) {
            let config = Config {
                target: Target::Node(endpoint.clone()),
                ..Config::clone(&self.config)
            };
            let home = SubscriberHandle::join(&Arc::new(config), self.ear.clone())?;
            homes.insert(endpoint.clone(), Arc::new(home));
        }
        Ok(&homes[endpoint])
    }

    /// Nothing is heard from the old home any more. What was published since it was last heard may be missed.
    fn begin_move(&self, topic: &Topic, old: Option<&SubscriberHandle>) {
        let heard = old.and_then(|old| old.health().heard);
        if let Some(old) = old {
            old.unsubscribe(None, topic, || {});
        }
        let Some(heard) = heard else { return };
        let mut awaited = self.ear.awaited.lock();
        let since = SystemTime::now() - heard.elapsed();
        let known = awaited.moving.entry(topic.clone()).or_insert(since);
        *known = since.min(*known);
        drop(awaited);
        self.ear.listener.gap_began();
    }

    /// Answers `id`, if there is one, once the listener gets no more messages of the topic.
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        let mut state = self.state.lock();
        let home = state.topics.remove(topic).and_then(|kept| kept.home);
        let mut awaited = self.ear.awaited.lock();
        let mut answers = CompletionBatch::default();
        if let Some(gap) = awaited.arrived(topic) {
            answers.push_gap(gap);
        }
        let callers = awaited.callers.remove(topic).unwrap_or_default();
        drop(awaited);
        for caller in callers {
            answers.done(caller);
        }
        match home.and_then(|home| state.homes.get(&home)) {
            Some(home) => home.unsubscribe(id, topic, left),
            None => {
                left();
                id.into_iter().for_each(|id| answers.done(id));
            }
        }
        drop(state);
        self.ear.put_unless_empty(answers);
    }

    fn close_unused(&self, state: &mut State) {
        let State {
            homes, topics, left, ..
        } = state;
        let is_used = |endpoint: &Endpoint| {
            let mut used = topics.values().filter_map(|kept| kept.home.as_ref());
            left.contains(endpoint) || used.any(|home| home == endpoint)
        };
        for (_, home) in homes.extract_if(|endpoint, _| !is_used(endpoint)) {
            home.leave(UNUSED);
        }
    }

    /// How the connection to each home does.
    pub fn health(&self) -> Vec<Health> {
        self.state
            .lock()
            .homes
            .values()
            .map(|home| home.health())
            .collect()
    }

    /// Answers `id` once all that only this listener had is unsubscribed.
    pub fn leave(&self, id: Id) {
        let mut state = self.state.lock();
        state.topics.clear();
        let callers = mem::take(&mut self.ear.awaited.lock().callers);
        let mut failed = CompletionBatch::default();
        for caller in callers.into_values().flatten() {
            failed.failed(
                caller,
                Error::because(Reason::Unanswered, "The store was disconnected"),
            );
        }
        self.ear.put_unless_empty(failed);
        let homes: Vec<_> = state.homes.drain().map(|(_, home)| home).collect();
        drop(state);
        if homes.is_empty() {
            let mut answer = CompletionBatch::default();
            answer.done(id);
            return self.ear.put(answer);
        }
        self.ear.awaited.lock().leaving = Some((id, homes.len()));
        for home in homes {
            home.leave(LEFT);
        }
    }

    /// Fails a call that has waited for its confirmation for too long.
    fn give_up(&self, id: Id, topic: &Topic) {
        let mut awaited = self.ear.awaited.lock();
        let Some(callers) = awaited.callers.get_mut(topic) else {
            return;
        };
        let before = callers.len();
        callers.retain(|caller| *caller != id);
        if callers.len() == before {
            return;
        }
        if callers.is_empty() {
            awaited.callers.remove(topic);
        }
        drop(awaited);
        let milliseconds = self.config.settings.limits.queue_timeout.as_millis();
        let message =
            format!("The cluster did not confirm the subscription within {milliseconds} ms (queueTimeout)");
        let mut answer = CompletionBatch::default();
        answer.failed(id, Error::because(Reason::QueueTimeout, message));
        self.ear.put(answer);
        self.unsubscribe(None, topic, || {});
    }

    fn adopt(&self, map: &Arc<SlotMap>) {
        let mut state = self.state.lock();
        state.map = Some(map.clone());
        let misplaced: Vec<Topic> = state
            .topics
            .iter()
            .filter(|(topic, kept)| {
                map.owner(home_slot(topic))
                    .is_some_and(|owner| kept.home.as_ref() != Some(owner))
            })
            .map(|(topic, _)| topic.clone())
            .collect();
        self.place(&mut state, &misplaced);
        self.close_unused(&mut state);
    }
}

fn home_slot(topic: &Topic) -> Slot {
    match topic.kind {
        Kind::Channel => slot_of(&topic.name),
        Kind::Pattern => HOME_OF_PATTERNS,
    }
}

/// Moves topics to their new home.
async fn cross(
    subscriber: Weak<ClusterSubscriber>,
    (old, left): (Option<Arc<SubscriberHandle>>, Endpoint),
    endpoint: Endpoint,
    topics: Vec<Topic>,
) {
    let Some(subscriber) = subscriber.upgrade() else {
        return;
    };
    let old = old.filter(|old| old.health().is_ready);
    if let Some(old) = &old {
        let channel = Topic {
            kind: Kind::Channel,
            name: format!("covara-kv:crossing:{}", unique()).into(),
        };
        let awaited = subscriber.await_bus(old, &endpoint, &channel);
        // A home that does not answer, or may not be published at, is left all the same.
        let _ = timeout(LONGEST_CROSSING, awaited).await;
        subscriber.end_crossing(&endpoint, &channel);
    } else {
        sleep(LONGEST_ON_BUS).await;
    }
    let mut state = subscriber.state.lock();
    if let Some(index) = state.left.iter().position(|other| *other == left) {
        state.left.swap_remove(index);
    }
    subscriber.arrive(&mut state, &endpoint, &topics);
    subscriber.close_unused(&mut state);
}

/// A name that no other process has.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = jitter().to_bits();
    format!("{}-{number}-{random:x}", std::process::id())
}

async fn expire(subscriber: Weak<ClusterSubscriber>, id: Id, topic: Topic) {
    let Some(longest) = subscriber
        .upgrade()
        .map(|strong| strong.config.settings.limits.queue_timeout)
    else {
        return;
    };
    sleep(longest).await;
    if let Some(subscriber) = subscriber.upgrade() {
        subscriber.give_up(id, &topic);
    }
}

impl Member for ClusterSubscriber {
    fn apply(&self, map: &Arc<SlotMap>) {
        self.adopt(map);
    }

    fn not_discovered(&self, cause: &Error, refused: bool, _: Duration) {
        if !refused {
            return;
        }
        let callers = std::mem::take(&mut self.ear.awaited.lock().callers);
        let mut answers = CompletionBatch::default();
        for id in callers.into_values().flatten() {
            answers.failed(id, cause.clone());
        }
        self.ear.put_unless_empty(answers);
    }

    fn ask(&self, _: &Endpoint, _: &[&[u8]]) -> Option<oneshot::Receiver<Bytes>> {
        None
    }

    fn has_silent_node(&self) -> bool {
        false
    }
}
