//! The passage of what a home has published: what another connection brings later comes behind it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::redis::endpoint::Endpoint;
use crate::redis::request::{Topic, TopicKind};
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::cluster_listener::{ClusterListener, Signals};
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::places::own_channel;

/// Interval at which pending answers are checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The passage of topics at one home, or of those that are heard nowhere.
pub struct Passage {
    topics: Vec<Topic>,
    at: Option<PassageHome>,
}

struct PassageHome {
    endpoint: Endpoint,
    home: Arc<SubscriberHandle>,
    /// When its connection was made.
    since: Instant,
    listener: Arc<ClusterListener>,
}

impl ClusterSubscriber {
    /// The passages of what was published at the homes of topics. A shard channel may be subscribed as a plain one.
    pub fn passages(&self, topics: Vec<Topic>) -> Vec<Passage> {
        let state = self.lock();
        let mut by_home: HashMap<Option<Endpoint>, Vec<Topic>> = HashMap::new();
        for mut topic in topics {
            if topic.kind == TopicKind::Shard && !state.topics.contains_key(&topic) {
                topic.kind = TopicKind::Channel;
            }
            let home = state.heard_at(&topic).cloned();
            by_home.entry(home).or_default().push(topic);
        }
        let passages = by_home.into_iter().map(|(endpoint, topics)| {
            let home = endpoint.and_then(|endpoint| state.homes.get_key_value(&endpoint));
            let at = home.and_then(|(endpoint, home)| {
                let health = home.health();
                health.is_ready.then(|| PassageHome {
                    endpoint: endpoint.clone(),
                    home: home.clone(),
                    since: health.since,
                    listener: self.listener.clone(),
                })
            });
            Passage { topics, at }
        });
        passages.collect()
    }
}

impl Passage {
    /// Of topics that all come by one connection.
    pub fn over(topics: Vec<Topic>) -> Self {
        Self { topics, at: None }
    }

    /// Returns once all that was published there before this call has been put, or is lost with the connection, which a gap tells. What was
    /// published comes ahead of the answer to a request by the same connection.
    pub async fn pass(self) -> Vec<Topic> {
        if let Some(at) = &self.at {
            tokio::select! {
                () = at.home.reads.share(at.answer()) => {}
                () = at.left(&self.topics) => {}
            }
        }
        self.topics
    }
}

impl PassageHome {
    /// Returns at the answer to a request by the home's connection.
    async fn answer(&self) {
        let channel = own_channel("passage");
        let (departed, on_answered) = oneshot::channel();
        let signals = Signals {
            departed: Some(departed),
            ..Signals::default()
        };
        self.listener.awaited.lock().own.insert(channel.clone(), signals);
        let own = OwnChannel {
            listener: &self.listener,
            channel,
        };
        let node = self.endpoint.to_string().into();
        let none = Arc::new(Mutex::new(Some(HashSet::new())));
        let departure = self.home.departure(none, node, &own.channel);
        self.home.begin_departure(&departure);
        let _ = on_answered.await;
    }

    /// Returns once no answer is pending: the connection is lost, or the home has none of the topics.
    async fn left(&self, topics: &[Topic]) {
        loop {
            sleep(POLL_INTERVAL).await;
            let health = self.home.health();
            let is_lost = !health.is_ready || health.since != self.since;
            if is_lost || !topics.iter().any(|topic| self.home.has(topic)) {
                return;
            }
        }
    }
}

/// Forgets the request's channel, also where the answer is not waited for.
struct OwnChannel<'a> {
    listener: &'a ClusterListener,
    channel: Topic,
}

impl Drop for OwnChannel<'_> {
    fn drop(&mut self) {
        self.listener.awaited.lock().own.remove(&self.channel);
    }
}
