//! The subscribing connection to a server: one for all stores of the process whose configurations are equal.
//!
//! One server:
//!
//! - [`one_or_cluster`]: what a listener has subscribed, at one server or in a cluster.
//! - [`holdings`]: what goes on in a cluster when the server turns out to be a node of one.
//! - [`listener`]: who gets messages, and the state of a topic that a listener keeps.
//! - [`table`]: all topics of a server.
//! - [`gap`]: the gap in what was received.
//! - [`entry`]: one topic, its state on the server, and its listeners.
//! - [`machine`]: what is sent to the server, and what it sends.
//! - [`answers`]: what a reply of the server changes.
//! - [`pending`]: the answers that listeners await.
//!
//! Cluster only:
//!
//! - [`homes`]: subscribes each topic at its home.
//! - [`places`]: where each topic is, and the topics that move.
//! - [`cluster_listener`]: what the homes tell a listener.
//! - [`crossing`]: topics move to another home.
//! - [`displaced`]: shard channels whose server has lost their slot.
//! - [`probe`]: whether a home still brings messages.
//! - [`passage`]: waits for what a home has published.
//! - [`expiry`]: the deadline of a call that awaits its confirmation.
//! - [`hearing`]: a channel of the process's own, at one node.

mod answers;
pub mod cluster_listener;
pub mod crossing;
mod displaced;
pub mod entry;
mod expiry;
mod gap;
pub mod hearing;
mod holdings;
pub mod homes;
pub mod listener;
pub mod machine;
pub mod one_or_cluster;
pub mod passage;
mod pending;
pub mod places;
mod probe;
pub mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::coalesced::Coalesced;
use crate::error::Result;
use crate::redis::config::Config;
use crate::redis::connection::Connection;
use crate::redis::endpoint::EndpointName;
use crate::redis::pipeline::{Health, Pipeline};
use crate::redis::request::{Departure, Id, Leaving, Topic};
use crate::redis::subscriber::entry::Priority;
use crate::redis::subscriber::holdings::Holdings;
use crate::redis::subscriber::listener::{Listener, TopicState};
use crate::redis::subscriber::machine::{Delivering, Subscriptions};

/// Those with handles. Locked before any pipeline.
static SUBSCRIBERS: Mutex<Vec<Arc<SharedSubscriber>>> = Mutex::new(Vec::new());

type SharedSubscriber = Connection<Subscriptions>;

/// A listener's part of a shared subscriber. Dropping it ends its subscriptions.
pub struct SubscriberHandle {
    shared: Arc<SharedSubscriber>,
    number: usize,
    /// The requests that end passages.
    reads: Coalesced,
}

impl SubscriberHandle {
    /// Joins the subscriber of a configuration. The first handle opens the connection.
    pub fn join(config: &Arc<Config>, listener: Arc<dyn Listener>) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut subscribers = SUBSCRIBERS.lock();
        let same = subscribers.iter().find(|shared| shared.config() == config);
        let shared = match same {
            Some(shared) => shared.clone(),
            None => {
                let shared = Arc::new(open(config)?);
                subscribers.push(shared.clone());
                shared
            }
        };
        shared.with(|pipeline| {
            pipeline.machine.table.listeners.insert(number, listener);
        });
        Ok(Self {
            shared,
            number,
            reads: Coalesced::default(),
        })
    }

    /// As [`Pipeline::subscribe`].
    pub fn subscribe(&self, id: Id, topic: &Topic) {
        self.with(|pipeline, now| pipeline.subscribe(self.number, id, topic, now));
    }

    /// As [`Pipeline::keep`].
    pub fn keep(&self, topic: &Topic, state: Arc<TopicState>) {
        self.with(|pipeline, now| pipeline.keep(self.number, topic, Priority::First, state, now));
    }

    /// Keeps topics of which there may be thousands: after a loss they are subscribed again behind the others, a batch at a time.
    pub fn keep_batched(&self, topics: &[Topic]) {
        self.with(|pipeline, now| {
            for topic in topics {
                pipeline.keep(self.number, topic, Priority::Batched, Arc::default(), now);
            }
        });
    }

    /// As [`Pipeline::unsubscribe`]. `left` runs within: all that the listener gets has been put by then.
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        self.with(|pipeline, now| {
            left();
            pipeline.unsubscribe(self.number, id, topic, now);
        });
    }

    /// Publishes an empty message by the same connection, which RESP 3 allows.
    pub fn publish(&self, channel: &Topic) {
        self.with(|pipeline, now| pipeline.publish(channel, now));
    }

    /// What has the listener leave topics, which cross to another home by a channel.
    pub fn departure(&self, topics: Leaving, node: EndpointName, channel: &Topic) -> Departure {
        Departure {
            listener: self.number,
            topics,
            node,
            channel: channel.clone(),
        }
    }

    /// Publishes an empty message to the channel. At its answer the listener leaves the topics.
    pub fn begin_departure(&self, departure: &Departure) {
        self.with(|pipeline, now| pipeline.begin_departure(departure, now));
    }

    /// Has the listener leave the topics, unless it has: what was published since the server was last heard is missed.
    pub fn end_departure(&self, departure: &Departure) {
        self.with(|pipeline, now| {
            let heard = pipeline.health().heard;
            let silent = heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
            pipeline.depart(departure, SystemTime::now() - silent, false, now);
        });
    }

    pub fn is_connected(&self) -> bool {
        self.with(|pipeline, _| pipeline.is_connected())
    }

    /// Whether it is connected, and no message has come for this time.
    pub fn is_silent(&self, time: Duration) -> bool {
        self.with(|pipeline, now| {
            let brought = pipeline.machine.brought;
            pipeline.is_connected()
                && brought.is_some_and(|brought| now.saturating_duration_since(brought) >= time)
        })
    }

    /// Has the connection closed and opened anew: messages are missed since the last one that came.
    pub fn give_up_deaf(&self) {
        self.with(|pipeline, _| pipeline.machine.is_deaf = pipeline.is_connected());
    }

    /// Asks for the topics again of which the server was not the home.
    pub fn ask_displaced(&self) {
        self.with(|pipeline, now| pipeline.ask_displaced(now));
    }

    /// Whether the listener has the topic here.
    pub fn has(&self, topic: &Topic) -> bool {
        self.with(|pipeline, _| pipeline.machine.table.has(self.number, topic))
    }

    /// What the listener has here, which goes on in a cluster. None once it has left.
    pub fn take_holdings(&self) -> Option<Holdings> {
        self.with(|pipeline, _| {
            let is_here = pipeline.machine.table.listeners.contains_key(&self.number);
            is_here.then(|| pipeline.take_holdings(self.number))
        })
    }

    pub fn health(&self) -> Health {
        self.with(|pipeline, _| pipeline.health())
    }

    /// Answers `id` once all topics that only this listener had are unsubscribed. The last one to leave closes the connection.
    pub fn leave(&self, id: Id) {
        let mut subscribers = SUBSCRIBERS.lock();
        let closing = self.with(|pipeline, now| pipeline.leave(self.number, id, now));
        let Some(request) = closing else { return };
        subscribers.retain(|shared| !Arc::ptr_eq(shared, &self.shared));
        self.shared.close(request);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Pipeline<Subscriptions>, Instant) -> R) -> R {
        self.shared.with(|pipeline| work(pipeline, Instant::now()))
    }
}

impl Drop for SubscriberHandle {
    fn drop(&mut self) {
        let mut subscribers = SUBSCRIBERS.lock();
        let was_last = self.with(|pipeline, now| pipeline.remove(self.number, now));
        if was_last {
            subscribers.retain(|shared| !Arc::ptr_eq(shared, &self.shared));
            self.shared.abandon();
        }
    }
}

fn open(config: &Arc<Config>) -> Result<SharedSubscriber> {
    let target = config.target.clone();
    let connection = Connection::new(config.clone(), target, Arc::new(Delivering))?;
    connection.start();
    Ok(connection)
}
