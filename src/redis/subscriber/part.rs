//! A listener's part of what is subscribed: at one server, or at the homes of a cluster.

use std::sync::Arc;

use crate::error::Result;
use crate::redis::config::Config;
use crate::redis::pipeline::Health;
use crate::redis::request::{Id, Topic};
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::listener::{Listener, TopicState};

/// Dropping it ends its subscriptions.
pub enum Subscriber {
    One(SubscriberHandle),
    Cluster(Arc<ClusterSubscriber>),
}

impl Subscriber {
    pub fn join(config: &Arc<Config>, listener: Arc<dyn Listener>) -> Result<Self> {
        Ok(match config.cluster {
            None => Self::One(SubscriberHandle::join(config, listener)?),
            Some(_) => Self::Cluster(ClusterSubscriber::join(config, listener)?),
        })
    }

    /// Answers `id` once messages come.
    pub fn subscribe(&self, id: Id, topic: &Topic) {
        match self {
            Self::One(handle) => handle.subscribe(id, topic),
            Self::Cluster(cluster) => cluster.subscribe(id, topic),
        }
    }

    /// Keeps a topic subscribed until it is unsubscribed, over all connections. Only a refusal of the server ends that, with an event.
    /// `state` is that of the topic from this call on.
    pub fn keep(&self, topic: &Topic, state: Arc<TopicState>) {
        match self {
            Self::One(handle) => handle.keep(topic, state),
            Self::Cluster(cluster) => cluster.keep(topic, state),
        }
    }

    /// Keeps topics of which there may be thousands: after a loss they are subscribed again behind the others, a batch at a time.
    pub fn keep_batched(&self, topics: &[Topic]) {
        match self {
            Self::One(handle) => handle.keep_batched(topics),
            Self::Cluster(cluster) => cluster.keep_batched(topics),
        }
    }

    /// Answers `id`, if there is one, once this listener gets no more messages of the topic. `left` runs within: all that the listener
    /// gets has been put by then.
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        match self {
            Self::One(handle) => handle.unsubscribe(id, topic, left),
            Self::Cluster(cluster) => cluster.unsubscribe(id, topic, left),
        }
    }

    pub fn health(&self) -> Vec<Health> {
        match self {
            Self::One(handle) => vec![handle.health()],
            Self::Cluster(cluster) => cluster.health(),
        }
    }

    /// Answers `id` once all topics that only this listener had are unsubscribed.
    pub fn leave(&self, id: Id) {
        match self {
            Self::One(handle) => handle.leave(id),
            Self::Cluster(cluster) => cluster.leave(id),
        }
    }
}
