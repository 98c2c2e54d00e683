//! What a store on Redis holds: its commands' connection, its part of the shared subscriber, and the queue of what they complete.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::redis::completions::CompletionQueue;
use crate::redis::config::Config;
use crate::redis::connection::Connection;
use crate::redis::pipeline::Health;
use crate::redis::pipeline::commands::Commands;
use crate::redis::request::{Id, Request, Topic};
use crate::redis::router::Router;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::listener::Listener;

pub struct Client {
    config: Arc<Config>,
    router: Router,
    completions: Arc<CompletionQueue>,
    listener: Arc<dyn Listener>,
    /// Present once the store has subscribed.
    subscriber: RefCell<Option<Arc<SubscriberHandle>>>,
}

impl Client {
    /// Opens nothing yet. `listener` gets what is published.
    pub fn new(
        config: Arc<Config>,
        completions: Arc<CompletionQueue>,
        listener: Arc<dyn Listener>,
    ) -> Result<Self> {
        Ok(Self {
            router: Router::new(config.clone(), completions.clone())?,
            config,
            completions,
            listener,
            subscriber: RefCell::default(),
        })
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub fn completions(&self) -> &CompletionQueue {
        &self.completions
    }

    /// The connection for commands.
    pub fn connection(&self) -> &Connection<Commands> {
        self.router.connection()
    }

    /// Sends requests, and fails those of the ids that cannot be sent.
    pub fn send(&self, requests: impl IntoIterator<Item = Request>, refused: Vec<(Id, Error)>, now: Instant) {
        for (id, error) in refused {
            self.completions.fail(id, error);
        }
        self.router.send(requests, now);
    }

    /// How the connection for commands does, and the subscribing one once there is one.
    pub fn health(&self) -> Vec<Health> {
        let commands = self.connection().with(|pipeline| pipeline.health());
        let subscriber = self.subscriber();
        let subscriptions = subscriber.map(|subscriber| subscriber.health());
        [commands].into_iter().chain(subscriptions).collect()
    }

    /// The store's part of the shared subscriber, once it has one.
    pub fn subscriber(&self) -> Option<Arc<SubscriberHandle>> {
        self.subscriber.borrow().clone()
    }

    /// Answers `id` once messages come.
    pub fn subscribe(&self, id: Id, topic: &Topic) -> Result<()> {
        self.completions.subscribed();
        let subscriber = match self.subscriber() {
            Some(subscriber) => subscriber,
            None => {
                let joined = Arc::new(SubscriberHandle::join(&self.config, self.listener.clone())?);
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

    /// Closes the connection once all that was asked for is answered, leaves the shared subscriber, and answers both ids.
    pub fn close(&self, id: Id, subscriptions_id: Id) {
        self.connection().close(id);
        match self.subscriber.take() {
            Some(subscriber) => subscriber.leave(subscriptions_id),
            None => self.completions.done(subscriptions_id),
        }
    }

    /// Drops both connections. Nothing is answered any more.
    pub fn abandon(&self) {
        self.connection().abandon();
        self.subscriber.take();
    }
}
