//! What a listener has subscribed: at one server, or at the homes of a cluster. That a server is a node of a cluster may turn out only when it
//! is connected to. What the listener has there then goes on in the cluster.

use std::mem;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::Result;
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::config::Config;
use crate::redis::pipeline::Health;
use crate::redis::protocol::published::Skipped;
use crate::redis::request::{Id, Topic};
use crate::redis::runtime;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::entry::Priority;
use crate::redis::subscriber::holdings::{HeldTopic, Holdings};
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::listener::{Listener, TopicState};
use crate::redis::subscriber::passage::Passage;

/// Dropping it ends its subscriptions.
pub struct Subscriber(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    listener: Arc<dyn Listener>,
    /// Locked before any pipeline.
    mode: Mutex<Mode>,
}

enum Mode {
    Standalone(SubscriberHandle),
    Cluster(Arc<ClusterSubscriber>),
    /// It has left, or is about to join.
    Left,
}

impl Subscriber {
    pub fn join(config: &Arc<Config>, listener: Arc<dyn Listener>) -> Result<Self> {
        let is_cluster = config.cluster.is_some();
        let shared = Arc::new(Inner {
            config: config.clone(),
            listener: listener.clone(),
            mode: Mutex::new(Mode::Left),
        });
        let mut mode = shared.mode.lock();
        *mode = if is_cluster {
            Mode::Cluster(ClusterSubscriber::join(config, listener)?)
        } else {
            let scout = Scout {
                listener,
                shared: Arc::downgrade(&shared),
            };
            Mode::Standalone(SubscriberHandle::join(config, Arc::new(scout))?)
        };
        drop(mode);
        Ok(Self(shared))
    }

    /// As [`SubscriberHandle::subscribe`].
    pub fn subscribe(&self, id: Id, topic: &Topic) {
        let mode = self.0.mode.lock();
        match &*mode {
            Mode::Standalone(handle) => handle.subscribe(id, topic),
            Mode::Cluster(cluster) => cluster.subscribe(id, topic),
            Mode::Left => {}
        }
    }

    /// As [`SubscriberHandle::keep`].
    pub fn keep(&self, topic: &Topic, state: Arc<TopicState>) {
        let mode = self.0.mode.lock();
        match &*mode {
            Mode::Standalone(handle) => handle.keep(topic, state),
            Mode::Cluster(cluster) => cluster.keep(topic, state),
            Mode::Left => {}
        }
    }

    /// As [`SubscriberHandle::keep_batched`].
    pub fn keep_batched(&self, topics: &[Topic]) {
        let mode = self.0.mode.lock();
        match &*mode {
            Mode::Standalone(handle) => handle.keep_batched(topics),
            Mode::Cluster(cluster) => cluster.keep_batched(topics),
            Mode::Left => {}
        }
    }

    /// As [`SubscriberHandle::unsubscribe`].
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        let mode = self.0.mode.lock();
        match &*mode {
            Mode::Standalone(handle) => handle.unsubscribe(id, topic, left),
            Mode::Cluster(cluster) => cluster.unsubscribe(id, topic, left),
            Mode::Left => left(),
        }
    }

    pub fn is_cluster(&self) -> bool {
        matches!(*self.0.mode.lock(), Mode::Cluster(_))
    }

    /// The passages of what was published on topics.
    pub fn passages(&self, topics: Vec<Topic>) -> Vec<Passage> {
        match &*self.0.mode.lock() {
            Mode::Cluster(cluster) => cluster.passages(topics),
            Mode::Standalone(_) | Mode::Left => vec![Passage::over(topics)],
        }
    }

    pub fn health(&self) -> Vec<Health> {
        match &*self.0.mode.lock() {
            Mode::Standalone(handle) => vec![handle.health()],
            Mode::Cluster(cluster) => cluster.health(),
            Mode::Left => Vec::new(),
        }
    }

    /// Answers `id` once all topics that only this listener had are unsubscribed.
    pub fn leave(&self, id: Id) {
        match &*self.0.mode.lock() {
            Mode::Standalone(handle) => handle.leave(id),
            Mode::Cluster(cluster) => cluster.leave(id),
            Mode::Left => {}
        }
    }
}

impl Inner {
    /// The server is a node of a cluster.
    fn become_cluster(&self) {
        let mut mode = self.mode.lock();
        let Mode::Standalone(handle) = &*mode else {
            return;
        };
        let config = Arc::new(self.config.as_cluster());
        let Ok(cluster) = ClusterSubscriber::join(&config, self.listener.clone()) else {
            return;
        };
        if let Some(holdings) = handle.take_holdings() {
            drop(mem::replace(&mut *mode, Mode::Cluster(cluster.clone())));
            adopt(&cluster, holdings);
        }
    }
}

/// Subscribes in a cluster what a listener had at one server. A gap that began there ends once all of it is live.
fn adopt(cluster: &Arc<ClusterSubscriber>, Holdings { topics, gap }: Holdings) {
    if let Some((since, node)) = gap {
        let missing = topics.iter().filter(|held| held.state.is_some());
        let missing = missing.map(|held| &held.topic);
        cluster.listener.awaited.lock().miss(missing, since, &node);
    }
    let mut batched = Vec::new();
    for HeldTopic {
        topic,
        priority,
        state,
        callers,
    } in topics
    {
        for id in callers {
            cluster.subscribe(id, &topic);
        }
        match (state, priority) {
            (Some(state), Priority::First) => cluster.keep(&topic, state),
            (Some(_), Priority::Batched) => batched.push(topic),
            (None, _) => {}
        }
    }
    cluster.keep_batched(&batched);
}

/// Passes everything on to the listener, and notices when the server turns out to be a cluster node. Called while a pipeline is locked.
struct Scout {
    listener: Arc<dyn Listener>,
    shared: Weak<Inner>,
}

impl Listener for Scout {
    fn put(&self, mut batch: CompletionBatch) {
        let is_cluster = batch
            .events
            .extract_if(.., |event| matches!(event, Event::ClusterFound))
            .count()
            > 0;
        if is_cluster && let Ok(runtime) = runtime::get() {
            // Its part may be the last reference: it is dropped outside of the pipeline's lock.
            let shared = self.shared.clone();
            runtime::spawn(runtime, async move {
                if let Some(shared) = shared.upgrade() {
                    shared.become_cluster();
                }
            });
        }
        if !batch.is_empty() {
            self.listener.put(batch);
        }
    }

    fn skip(&self, channel: &[u8], received: &[u8]) -> Skipped {
        self.listener.skip(channel, received)
    }

    fn subscribed(&self, topic: &Topic) {
        self.listener.subscribed(topic);
    }

    fn gap_began(&self) {
        self.listener.gap_began();
    }
}
