//! Subscriptions in a cluster: each channel at its home, the master of its slot, where this package publishes too. So the order and the
//! number of receivers are right, and no message of ours depends on the bus between the nodes.

use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::refresh::topology_of;
use crate::redis::cluster::topology::{Topology, TopologyMember};
use crate::redis::completions::CompletionBatch;
use crate::redis::config::{Config, Limits, Target};
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::Health;
use crate::redis::request::{Id, Topic, TopicKind};
use crate::redis::runtime;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::cluster_listener::{Callers, ClusterListener, LEFT, UNUSED};
use crate::redis::subscriber::listener::{Listener, TopicState};
use crate::redis::subscriber::places::{Desired, Place, Places, home_of};

pub struct ClusterSubscriber {
    config: Arc<Config>,
    runtime: &'static Runtime,
    pub(super) topology: Arc<Topology>,
    pub listener: Arc<ClusterListener>,
    /// Locked before any pipeline.
    state: Mutex<Places>,
    this: Weak<Self>,
}

impl ClusterSubscriber {
    pub fn join(config: &Arc<Config>, listener: Arc<dyn Listener>) -> Result<Arc<Self>> {
        let topology = topology_of(config)?;
        let runtime = runtime::get()?;
        let subscriber = Arc::new_cyclic(|this| Self {
            config: config.clone(),
            runtime,
            topology,
            listener: Arc::new(ClusterListener {
                listener,
                awaited: Mutex::default(),
                displaced: Arc::default(),
                lost: Arc::default(),
            }),
            state: Mutex::default(),
            this: this.clone(),
        });
        let member: Arc<dyn TopologyMember> = subscriber.clone();
        subscriber.topology.add(Arc::downgrade(&member));
        subscriber.apply();
        runtime::spawn(runtime, Self::watch(Arc::downgrade(&subscriber)));
        runtime::spawn(runtime, Self::follow(Arc::downgrade(&subscriber)));
        Ok(subscriber)
    }

    /// As [`SubscriberHandle::subscribe`], wherever the topic's home is.
    pub fn subscribe(self: &Arc<Self>, id: Id, topic: &Topic) {
        let mut state = self.lock();
        let kept = state.topics.get(topic).map(|kept| kept.state.clone());
        let mut awaited = self.listener.awaited.lock();
        let callers = awaited.callers.entry(topic.clone()).or_insert_with(|| Callers {
            are_alone: kept.is_none(),
            ..Callers::default()
        });
        callers.ids.push(id);
        drop(awaited);
        self.keep_all(
            &mut state,
            std::slice::from_ref(topic),
            false,
            &kept.unwrap_or_default(),
        );
        let expiry = Self::expire(Arc::downgrade(self), id, topic.clone());
        runtime::spawn(self.runtime, expiry);
    }

    /// As [`SubscriberHandle::keep`], wherever the topic's home is.
    pub fn keep(&self, topic: &Topic, state: Arc<TopicState>) {
        let mut places = self.lock();
        if let Some(callers) = self.listener.awaited.lock().callers.get_mut(topic) {
            callers.are_alone = false;
        }
        self.keep_all(&mut places, std::slice::from_ref(topic), false, &state);
    }

    /// As [`SubscriberHandle::keep_batched`].
    pub fn keep_batched(&self, topics: &[Topic]) {
        self.keep_all(&mut self.lock(), topics, true, &Arc::default());
    }

    fn keep_all(
        &self,
        state: &mut Places,
        topics: &[Topic],
        is_batched: bool,
        topic_state: &Arc<TopicState>,
    ) {
        for topic in topics {
            let place = state.topics.get(topic).map(|kept| kept.place.clone());
            let kept = Desired {
                place: place.unwrap_or(Place::Nowhere),
                is_batched,
                state: topic_state.clone(),
            };
            state.topics.insert(topic.clone(), kept);
        }
        self.place(state, topics);
    }

    /// Subscribes topics at their homes; moves those that are elsewhere.
    pub(super) fn place(&self, state: &mut Places, topics: &[Topic]) {
        let Places {
            map: Some(map),
            homes,
            topics: known,
            crossings,
            ..
        } = state
        else {
            return;
        };
        let mut arrivals: HashMap<Endpoint, Vec<Topic>> = HashMap::new();
        // Patterns cross by themselves, as they take longer.
        let mut moves: HashMap<(Endpoint, Endpoint, bool), Vec<Topic>> = HashMap::new();
        for topic in topics {
            let Some(kept) = known.get_mut(topic) else {
                continue;
            };
            let Some(home) = home_of(map, topic) else {
                continue;
            };
            match &kept.place {
                // Where it goes is looked up again at the end of its crossing.
                Place::Crossing(_) => {}
                Place::At(old) if old != home => {
                    let is_pattern = topic.kind == TopicKind::Pattern;
                    let topics = moves.entry((old.clone(), home.clone(), is_pattern)).or_default();
                    topics.push(topic.clone());
                }
                _ => arrivals.entry(home.clone()).or_default().push(topic.clone()),
            }
        }
        for ((from, to, _), topics) in moves {
            let old = homes.get(&from).cloned();
            let confirmed = self.topology.confirmed(&from);
            let crossing = crossings.begin(from, to, old, topics, confirmed);
            for topic in &crossing.topics {
                if let Some(kept) = known.get_mut(topic) {
                    kept.place = Place::Crossing(crossing.number);
                }
            }
            let crossed = crossing.run(self.this.clone(), self.listener.clone());
            runtime::spawn(self.runtime, crossed);
        }
        for (home, topics) in arrivals {
            self.arrive(state, &home, &topics);
        }
    }

    /// Subscribes topics at a home.
    pub(super) fn arrive(&self, state: &mut Places, endpoint: &Endpoint, topics: &[Topic]) {
        let Places {
            homes, topics: known, ..
        } = state;
        let Ok(home) = self.home(homes, endpoint) else {
            return;
        };
        let mut batch = Vec::new();
        for topic in topics {
            let Some(kept) = known.get_mut(topic) else {
                continue;
            };
            kept.place = Place::At(endpoint.clone());
            if kept.is_batched {
                batch.push(topic.clone());
            } else {
                home.keep(topic, kept.state.clone());
            }
        }
        home.keep_batched(&batch);
    }

    /// The connection to a home, which is opened unless all is left.
    pub fn home_at(&self, endpoint: &Endpoint) -> Option<Arc<SubscriberHandle>> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        self.home(&mut state.homes, endpoint).ok().cloned()
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
            let home = SubscriberHandle::join(&Arc::new(config), self.listener.clone())?;
            homes.insert(endpoint.clone(), Arc::new(home));
        }
        Ok(&homes[endpoint])
    }

    /// As [`SubscriberHandle::unsubscribe`].
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        let mut state = self.lock();
        let answers = self.leave_topic(&mut state, id, topic, left);
        drop(state);
        self.listener.put_unless_empty(answers);
    }

    /// Unsubscribes a topic, and gives what the listener is to be told once the state is unlocked.
    pub(super) fn leave_topic(
        &self,
        state: &mut Places,
        id: Option<Id>,
        topic: &Topic,
        left: impl FnOnce(),
    ) -> CompletionBatch {
        let home = state.heard_at(topic).cloned();
        let kept = state.topics.remove(topic);
        if let Some(Place::Crossing(number)) = kept.map(|kept| kept.place) {
            state.crossings.take_out(number, topic);
        }
        let mut awaited = self.listener.awaited.lock();
        let mut answers = CompletionBatch::default();
        if let Some(gap) = awaited.arrived(topic) {
            answers.push_gap(gap);
        }
        let callers = awaited.take_callers(topic).ids;
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
        answers
    }

    pub(super) fn close_unused(&self, state: &mut Places) {
        let Places {
            homes,
            topics,
            crossings,
            ..
        } = state;
        let is_used = |endpoint: &Endpoint| {
            let is_at = |kept: &Desired| matches!(&kept.place, Place::At(home) if home == endpoint);
            crossings.is_in_use(endpoint) || topics.values().any(is_at)
        };
        for (_, home) in homes.extract_if(|endpoint, _| !is_used(endpoint)) {
            home.leave(UNUSED);
        }
    }

    /// Locks the state, and first removes topics that a home has refused.
    pub fn lock(&self) -> MutexGuard<'_, Places> {
        let mut state = self.state.lock();
        for topic in mem::take(&mut self.listener.awaited.lock().refused) {
            state.topics.remove(&topic);
        }
        state
    }

    /// Homes of topics that are connected and have brought no message for this time.
    pub(super) fn silent_homes(&self, time: Duration) -> Vec<(Endpoint, Arc<SubscriberHandle>)> {
        let state = self.lock();
        let homes = state.homes.iter();
        let silent = homes.filter(|(_, home)| home.is_silent(time));
        silent
            .map(|(endpoint, home)| (endpoint.clone(), home.clone()))
            .collect()
    }

    /// Homes whose connection was lost, and that have no other yet.
    pub(super) fn lost_homes(&self) -> Vec<Endpoint> {
        let state = self.state.lock();
        let lost = state.homes.iter().filter(|(_, home)| !home.is_connected());
        lost.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    pub(super) fn all_homes(&self) -> Vec<Arc<SubscriberHandle>> {
        self.state.lock().homes.values().cloned().collect()
    }

    /// How the connection to each home does.
    pub fn health(&self) -> Vec<Health> {
        self.all_homes().iter().map(|home| home.health()).collect()
    }

    /// Answers `id` once all that only this listener had is unsubscribed.
    pub fn leave(&self, id: Id) {
        let mut state = self.lock();
        state.is_over = true;
        state.topics.clear();
        let callers = mem::take(&mut self.listener.awaited.lock().callers);
        let mut failed = CompletionBatch::default();
        for caller in callers.into_values().flat_map(|callers| callers.ids) {
            failed.failed(
                caller,
                Error::because(Reason::Unanswered, "The store was disconnected"),
            );
        }
        self.listener.put_unless_empty(failed);
        let homes: Vec<_> = state.homes.drain().map(|(_, home)| home).collect();
        drop(state);
        if homes.is_empty() {
            let mut answer = CompletionBatch::default();
            answer.done(id);
            return self.listener.put(answer);
        }
        self.listener.awaited.lock().leaving = Some((id, homes.len()));
        for home in homes {
            home.leave(LEFT);
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.config.settings.limits
    }
}

impl TopologyMember for ClusterSubscriber {
    fn apply(&self) {
        let mut state = self.lock();
        let Some(map) = self.topology.map() else { return };
        state.map = Some(map.clone());
        let topics: Vec<Topic> = state
            .topics
            .iter()
            .filter(|(topic, kept)| match &kept.place {
                Place::At(at) => home_of(&map, topic).is_some_and(|home| home != at),
                Place::Nowhere => true,
                Place::Crossing(_) => false,
            })
            .map(|(topic, _)| topic.clone())
            .collect();
        self.place(&mut state, &topics);
        self.close_unused(&mut state);
    }

    fn not_discovered(&self, cause: &Error, refused: bool, _: Duration) {
        if !refused {
            return;
        }
        let mut state = self.lock();
        let callers = mem::take(&mut self.listener.awaited.lock().callers);
        let mut answers = Vec::new();
        for (topic, Callers { ids, are_alone }) in callers {
            let mut answer = CompletionBatch::default();
            if are_alone {
                answer = self.leave_topic(&mut state, None, &topic, || {});
            }
            for id in ids {
                answer.failed(id, cause.clone());
            }
            answers.push(answer);
        }
        drop(state);
        for answer in answers {
            self.listener.put_unless_empty(answer);
        }
    }

    fn ask(&self, _: &Endpoint, _: &[&[u8]]) -> Option<oneshot::Receiver<Bytes>> {
        None
    }

    fn silent_masters(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}
