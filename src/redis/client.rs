//! What a store on Redis holds: the router of its commands, its part of the shared subscriber, and the queue of what they complete.

use std::cell::{Ref, RefCell};
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::redis::cluster::survey;
use crate::redis::completions::{CompletionBatch, CompletionQueue};
use crate::redis::config::Config;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::Health;
use crate::redis::request::{Id, Request, Shape, Topic};
use crate::redis::router::Router;
use crate::redis::runtime;
use crate::redis::subscriber::hearing;
use crate::redis::subscriber::listener::Listener;
use crate::redis::subscriber::one_or_cluster::Subscriber;

pub struct Client {
    config: RefCell<Arc<Config>>,
    router: RefCell<Router>,
    completions: Arc<CompletionQueue>,
    listener: Arc<dyn Listener>,
    /// Present once the store has subscribed.
    subscriber: RefCell<Option<Arc<Subscriber>>>,
}

impl Client {
    /// Opens nothing yet. `listener` gets what is published.
    pub fn new(
        config: Arc<Config>,
        completions: Arc<CompletionQueue>,
        listener: Arc<dyn Listener>,
    ) -> Result<Self> {
        Ok(Self {
            router: RefCell::new(Router::new(config.clone(), completions.clone(), hearing::listen)?),
            config: RefCell::new(config),
            completions,
            listener,
            subscriber: RefCell::default(),
        })
    }

    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    pub fn completions(&self) -> &CompletionQueue {
        &self.completions
    }

    pub fn router(&self) -> Ref<'_, Router> {
        self.router.borrow()
    }

    /// The server is a node of a cluster: it becomes the first that is asked for the slots, and what waits for it goes where its slot is.
    pub fn become_cluster(&self, now: Instant) -> Result<()> {
        let mut router = self.router.borrow_mut();
        let Router::One(connection) = &*router else {
            return Ok(());
        };
        let config = Arc::new(self.config().as_cluster());
        let cluster = Router::new(config.clone(), self.completions.clone(), hearing::listen)?;
        cluster.start();
        let (waiting, connecting, closing) = connection.with(|pipeline| {
            let waiting = pipeline.take_waiting(|_| true);
            (waiting, pipeline.take_connecting(), pipeline.take_closing())
        });
        connection.abandon();
        cluster.send(waiting, now);
        for id in connecting {
            cluster.connect(id);
        }
        if let Some(id) = closing {
            cluster.close(id);
        }
        *self.config.borrow_mut() = config;
        *router = cluster;
        Ok(())
    }

    /// Answers `id` with what a node of a cluster says, over a connection of its own. That is its version, its role, the microseconds of a
    /// round trip, and the reply to a command. `is_told`: nodes tell this address.
    pub fn ask_node(&self, id: Id, node: Endpoint, is_told: bool, command: Vec<String>) -> Result<()> {
        let (config, completions) = (self.config(), self.completions.clone());
        runtime::spawn(runtime::get()?, async move {
            let mut batch = CompletionBatch::default();
            match survey::ask(&config, &node, is_told, &command).await {
                Ok(told) => batch.answer(id, Shape::AsIs, Ok(told)),
                Err(failure) => batch.failed(id, failure.error),
            }
            completions.put(batch);
        });
        Ok(())
    }

    /// Sends requests, and fails those of the ids that cannot be sent.
    pub fn send(&self, requests: impl IntoIterator<Item = Request>, refused: Vec<(Id, Error)>, now: Instant) {
        for (id, error) in refused {
            self.completions.fail(id, error);
        }
        self.router().send(requests, now);
    }

    /// The state of each connection for commands, and of each that subscribes.
    pub fn health(&self) -> Vec<Health> {
        let subscriber = self.subscriber();
        let subscriptions = subscriber.iter().flat_map(|subscriber| subscriber.health());
        self.router().health().into_iter().chain(subscriptions).collect()
    }

    /// The store's part of the shared subscriber, once it has one.
    pub fn subscriber(&self) -> Option<Arc<Subscriber>> {
        self.subscriber.borrow().clone()
    }

    /// As [`Subscriber::subscribe`].
    pub fn subscribe(&self, id: Id, topic: &Topic) -> Result<()> {
        self.completions.note_subscription();
        let subscriber = match self.subscriber() {
            Some(subscriber) => subscriber,
            None => {
                let joined = Arc::new(Subscriber::join(&self.config(), self.listener.clone())?);
                self.subscriber.borrow_mut().insert(joined).clone()
            }
        };
        subscriber.subscribe(id, topic);
        Ok(())
    }

    /// Answers `id` once no messages come, and drops those that have come.
    pub fn unsubscribe(&self, id: Id, topic: &Topic) {
        match self.subscriber() {
            Some(subscriber) => subscriber.unsubscribe(Some(id), topic, || self.completions.forget(topic)),
            None => self.completions.done(id),
        }
    }

    /// Closes the connections for commands once all that was asked for is answered, leaves the shared subscriber, and answers both ids.
    pub fn close(&self, id: Id, subscriptions_id: Id) {
        self.router().close(id);
        match self.subscriber.take() {
            Some(subscriber) => subscriber.leave(subscriptions_id),
            None => self.completions.done(subscriptions_id),
        }
    }

    /// Drops the connections for commands, and leaves the shared subscriber. Open requests never get an answer.
    pub fn abandon(&self) {
        self.router().abandon();
        self.subscriber.take();
    }
}
