//! The subscribing connection to a server: one for all stores of the process whose configurations are equal.
//!
//! [`part`]: what a listener has of one server, or of a cluster, by [`homes`]. [`routing`]: which [`listener`] has which topic. Below it, `pipeline::subscriptions` has the state of each topic on the server.

mod homes;
pub mod listener;
pub mod part;
pub mod routing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::Result;
use crate::redis::completions::CompletionBatch;
use crate::redis::config::Config;
use crate::redis::connection::Connection;
use crate::redis::connection::shared::Sink;
use crate::redis::pipeline::subscriptions::Subscriptions;
use crate::redis::pipeline::subscriptions::topics::Priority;
use crate::redis::pipeline::{Health, Pipeline};
use crate::redis::protocol::published::Skipped;
use crate::redis::request::{Id, Topic};
use crate::redis::subscriber::listener::Listener;
use crate::redis::subscriber::routing::RoutingTable;

/// Those with handles. Locked before any pipeline.
static SUBSCRIBERS: Mutex<Vec<Arc<SharedSubscriber>>> = Mutex::new(Vec::new());

struct SharedSubscriber {
    connection: Connection<Subscriptions>,
    routing: Arc<Routing>,
}

/// A listener's part of a shared subscriber. Dropping it ends its subscriptions.
pub struct SubscriberHandle {
    shared: Arc<SharedSubscriber>,
    number: usize,
}

impl SubscriberHandle {
    /// Joins the subscriber of a configuration. The first handle opens the connection.
    pub fn join(config: &Arc<Config>, listener: Arc<dyn Listener>) -> Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut subscribers = SUBSCRIBERS.lock();
        let same = subscribers
            .iter()
            .find(|shared| shared.connection.config() == config);
        let shared = match same {
            Some(shared) => shared.clone(),
            None => {
                let shared = Arc::new(SharedSubscriber::open(config)?);
                subscribers.push(shared.clone());
                shared
            }
        };
        shared.with(|table, _| table.join(number, listener));
        Ok(Self { shared, number })
    }

    /// Answers `id` once messages come.
    pub fn subscribe(&self, id: Id, topic: &Topic) {
        self.shared
            .with(|table, pipeline| table.subscribe(self.number, id, topic, pipeline));
    }

    /// Keeps a topic subscribed until it is unsubscribed, over all connections. Only a refusal of the server ends that, with an event.
    pub fn keep(&self, topic: &Topic) {
        self.shared
            .with(|table, pipeline| table.keep(self.number, topic, Priority::First, pipeline));
    }

    /// Keeps topics of which there may be thousands: after a loss they are subscribed again behind the others, a batch at a time.
    pub fn keep_batched(&self, topics: &[Topic]) {
        self.shared.with(|table, pipeline| {
            for topic in topics {
                table.keep(self.number, topic, Priority::Batched, pipeline);
            }
        });
    }

    /// Answers `id`, if there is one, once this listener gets no more messages of the topic. `left` runs within: all that the listener
    /// gets has been put by then.
    pub fn unsubscribe(&self, id: Option<Id>, topic: &Topic, left: impl FnOnce()) {
        self.shared.with(|table, pipeline| {
            left();
            table.unsubscribe(self.number, id, topic, pipeline);
        });
    }

    pub fn health(&self) -> Health {
        self.shared.with(|_, pipeline| pipeline.health())
    }

    /// Answers `id` once all topics that only this listener had are unsubscribed. The last one to leave closes the connection.
    pub fn leave(&self, id: Id) {
        let mut subscribers = SUBSCRIBERS.lock();
        let closing = self
            .shared
            .with(|table, pipeline| table.leave(self.number, id, pipeline));
        let Some(request) = closing else { return };
        subscribers.retain(|shared| !Arc::ptr_eq(shared, &self.shared));
        self.shared.connection.close(request);
    }
}

impl Drop for SubscriberHandle {
    fn drop(&mut self) {
        let mut subscribers = SUBSCRIBERS.lock();
        let was_last = self
            .shared
            .with(|table, pipeline| table.remove(self.number, pipeline));
        if was_last {
            subscribers.retain(|shared| !Arc::ptr_eq(shared, &self.shared));
            self.shared.connection.abandon();
        }
    }
}

impl SharedSubscriber {
    fn open(config: &Arc<Config>) -> Result<Self> {
        let routing = Arc::<Routing>::default();
        let target = config.target.clone();
        let connection = Connection::new(config.clone(), target, routing.clone())?;
        connection.start();
        Ok(Self { connection, routing })
    }

    fn with<R>(&self, work: impl FnOnce(&mut RoutingTable, &mut Pipeline<Subscriptions>) -> R) -> R {
        self.connection
            .with(|pipeline| work(&mut self.routing.0.lock(), pipeline))
    }
}

/// Locked within the pipeline only, and so never waited for.
#[derive(Default)]
struct Routing(Mutex<RoutingTable>);

impl Sink<Subscriptions> for Routing {
    fn put(&self, batch: CompletionBatch, pipeline: &mut Pipeline<Subscriptions>) {
        self.0.lock().put(batch, pipeline);
    }

    fn skip(&self, received: &[u8]) -> Skipped {
        self.0.lock().skip(received)
    }
}
