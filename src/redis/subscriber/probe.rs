//! Whether homes bring what is published. A node that is cut off from the others, or has forgotten a subscription, is deaf: it answers PING,
//! but brings nothing.
//!
//! A probe subscribes a channel at a home that has brought nothing for a while. Another master publishes on it: the message reaches the
//! home by the bus. If it does not come, the home is connected to anew, the gap is told, and the map is fetched.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::redis::cluster::topology::Topology;
use crate::redis::connection::backoff::jitter;
use crate::redis::endpoint::Endpoint;
use crate::redis::request::Topic;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::cluster_listener::{ClusterListener, Signals};
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::places::own_channel;

/// How many masters are to publish before a home counts as deaf: the first may be the one that is cut off.
const WITNESSES: usize = 2;

impl ClusterSubscriber {
    /// Probes silent homes as long as there is a subscriber. Homes are shared in the process, and so is what a probe brings.
    pub(super) async fn watch(subscriber: Weak<Self>) {
        while let Some(strong) = subscriber.upgrade() {
            // Twice the time that any reply may take.
            let silence = 2 * strong.limits().timeout;
            drop(strong);
            sleep(silence.mul_f64(0.5 + jitter() / 2.0)).await;
            let Some(strong) = subscriber.upgrade() else {
                return;
            };
            let (topology, listener) = (strong.topology.clone(), strong.listener.clone());
            let longest = strong.limits().timeout;
            let silent = strong.silent_homes(silence);
            drop(strong);
            for (endpoint, home) in silent {
                let probe = Probe {
                    topology: &topology,
                    listener: &listener,
                    endpoint,
                    longest,
                    channel: own_channel("probe"),
                };
                if probe.is_deaf(&home, &probe.witnesses()).await {
                    home.give_up_deaf();
                    topology.doubt(None);
                }
            }
        }
    }
}

pub struct Probe<'a> {
    pub topology: &'a Topology,
    pub listener: &'a Arc<ClusterListener>,
    /// The home.
    pub endpoint: Endpoint,
    /// How long each step may take.
    pub longest: Duration,
    pub channel: Topic,
}

impl Probe<'_> {
    /// Whether a home brings nothing of what masters publish, which are asked one after the other.
    pub async fn is_deaf(&self, home: &SubscriberHandle, masters: &[Endpoint]) -> bool {
        let (subscribed, on_subscribed) = oneshot::channel();
        let (heard, mut on_heard) = oneshot::channel();
        let signals = Signals {
            subscribed: Some(subscribed),
            heard: Some(heard),
            ..Signals::default()
        };
        self.listener
            .awaited
            .lock()
            .own
            .insert(self.channel.clone(), signals);
        home.keep(&self.channel, Arc::default());
        let mut is_deaf = false;
        // A home that does not answer is given up by its connection, and a user that may not use the channel goes without.
        if let Ok(Ok(())) = timeout(self.longest, on_subscribed).await {
            for node in masters {
                if self.publish_at(node).await {
                    is_deaf = timeout(self.longest, &mut on_heard).await.is_err();
                    if !is_deaf {
                        break;
                    }
                }
            }
        }
        self.listener.awaited.lock().own.remove(&self.channel);
        home.unsubscribe(None, &self.channel, || {});
        is_deaf
    }

    /// Other masters than the home, from a random one on. Where it is the only one, it publishes itself.
    fn witnesses(&self) -> Vec<Endpoint> {
        let map = self.topology.map();
        let masters = map.as_ref().map_or(&[][..], |map| map.masters());
        let others: Vec<_> = masters.iter().filter(|node| **node != self.endpoint).collect();
        if others.is_empty() {
            return vec![self.endpoint.clone()];
        }
        let first = (jitter() * others.len() as f64) as usize;
        let turned = others.iter().cycle().skip(first);
        turned
            .take(others.len().min(WITNESSES))
            .map(|node| (*node).clone())
            .collect()
    }

    /// Whether a node has published on the channel.
    async fn publish_at(&self, node: &Endpoint) -> bool {
        let command: [&[u8]; 3] = [b"PUBLISH", &self.channel.name, b""];
        let members = self.topology.members();
        let asked = members.iter().find_map(|member| member.ask(node, &command));
        drop(members);
        let Some(answer) = asked else { return false };
        let answer = timeout(self.longest, answer).await;
        matches!(answer, Ok(Ok(bytes)) if bytes.starts_with(b":"))
    }
}
