//! A channel of the process's own that is heard at one node, by the connection that the process has to it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot::{self, Sender};

use crate::error::Result;
use crate::redis::cluster::publishing::Hearing;
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::config::{Config, Target};
use crate::redis::endpoint::Endpoint;
use crate::redis::request::Topic;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::listener::Listener;
use crate::redis::subscriber::places::own_channel;

/// Subscribes a channel at a node.
pub fn listen(config: &Config, node: &Endpoint) -> Result<Hearing> {
    let config = Config {
        target: Target::Node(node.clone()),
        ..config.clone()
    };
    let (tell_subscribed, subscribed) = oneshot::channel();
    let (tell_heard, heard) = oneshot::channel();
    let listener = Arc::new(HearingListener(Mutex::new(HearingSenders {
        subscribed: Some(tell_subscribed),
        heard: Some(tell_heard),
    })));
    let handle = SubscriberHandle::join(&Arc::new(config), listener)?;
    let channel = own_channel("publishing");
    handle.keep(&channel, Arc::default());
    Ok(Hearing {
        channel,
        subscribed,
        heard,
        subscription: Box::new(handle),
    })
}

struct HearingListener(Mutex<HearingSenders>);

#[derive(Default)]
struct HearingSenders {
    subscribed: Option<Sender<()>>,
    heard: Option<Sender<()>>,
}

impl Listener for HearingListener {
    fn put(&self, batch: CompletionBatch) {
        let mut senders = self.0.lock();
        let refused = |event: &Event| matches!(event, Event::Unsubscribed { .. });
        if batch.events.iter().any(refused) {
            *senders = HearingSenders::default();
        }
        if !batch.backlog.is_empty() {
            senders.heard.take().map(|told| told.send(()));
        }
    }

    fn subscribed(&self, _: &Topic) {
        self.0.lock().subscribed.take().map(|told| told.send(()));
    }
}
