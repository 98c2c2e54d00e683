//! Shard channels whose server has lost their slot. It unsubscribes them, or refuses SSUBSCRIBE. The map is then fetched.
//!
//! The channels cross to the home that the map names. While it names no other, the server is asked again: it may have the slot again.

use std::sync::Weak;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::error::Error;
use crate::redis::endpoint::EndpointName;
use crate::redis::pipeline::Pipeline;
use crate::redis::request::{Subscription, Topic, TopicKind};
use crate::redis::subscriber::entry::Status;
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::listener::Kept;
use crate::redis::subscriber::machine::Subscriptions;
use crate::redis::subscriber::table::{OpenGap, Table};

/// So long the map is waited for before the server is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// Errors of a server that is not the home, or cannot serve the slot now.
const ELSEWHERE: [&str; 6] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING"];

impl Pipeline<Subscriptions> {
    /// The server has unsubscribed a shard channel, which it was not asked to while a listener has it.
    pub(super) fn displaced(&mut self, name: &Bytes) {
        let topic = Topic::new(TopicKind::Shard, name.clone());
        if self
            .machine
            .table
            .displaced(&topic, SystemTime::now(), self.node.clone())
        {
            self.trace(|| format!("{topic} has another home"));
        }
    }

    /// Asks for the topics again that have been displaced.
    pub fn ask_displaced(&mut self, now: Instant) {
        for topic in self.machine.table.take_displaced() {
            self.subscribe_due(&topic, now);
        }
        self.end_gap(now);
    }
}

impl Table {
    /// True if the topic was live: messages are missed from now on.
    fn displaced(&mut self, topic: &Topic, since: SystemTime, node: Option<EndpointName>) -> bool {
        let entry = self.topics.get_mut(topic);
        let Some(entry) = entry.filter(|entry| entry.status == Status::Live) else {
            return false;
        };
        entry.status = Status::Due(0);
        self.gap.get_or_insert(OpenGap::new(since, node));
        for registration in &mut entry.registrations {
            registration.set(Kept::Interrupted);
            registration.misses = true;
            if let Some(listener) = self.listeners.get(&registration.listener) {
                listener.gap_began();
            }
        }
        self.displace(topic);
        true
    }

    /// The server has refused the table's request, as it is not the topic's home.
    pub fn misplaced(&mut self, Subscription { topic, asker }: &Subscription) {
        let entry = self.topics.get_mut(topic);
        if let Some(entry) = entry.filter(|entry| entry.is_asked_by(*asker)) {
            entry.status = Status::Due(0);
            self.displace(topic);
        }
    }

    fn displace(&mut self, topic: &Topic) {
        self.displaced.insert(topic.clone());
        let registrations = self
            .topics
            .get(topic)
            .into_iter()
            .flat_map(|entry| &entry.registrations);
        for registration in registrations {
            if let Some(listener) = self.listeners.get(&registration.listener) {
                listener.displaced();
            }
        }
    }

    fn take_displaced(&mut self) -> Vec<Topic> {
        self.displaced.drain().collect()
    }
}

/// Whether a refusal says that a shard channel has another home, or none just now.
pub fn is_elsewhere(Subscription { topic, .. }: &Subscription, error: &Error) -> bool {
    topic.kind == TopicKind::Shard && ELSEWHERE.contains(&&*error.code)
}

impl ClusterSubscriber {
    /// Has the map asked for when topics are displaced or homes are lost, as long as there is a subscriber.
    pub(super) async fn follow(subscriber: Weak<Self>) {
        let Some((displaced, lost)) = subscriber.upgrade().map(|strong| {
            let listener = &strong.listener;
            (listener.displaced.clone(), listener.lost.clone())
        }) else {
            return;
        };
        loop {
            let is_lost = tokio::select! {
                () = displaced.notified() => false,
                () = lost.notified() => true,
            };
            let Some(strong) = subscriber.upgrade() else {
                return;
            };
            let doubted = if is_lost { strong.lost_homes() } else { Vec::new() };
            doubted.iter().for_each(|home| strong.topology.doubt(Some(home)));
            if doubted.is_empty() {
                strong.topology.doubt(None);
            }
            drop(strong);
            tokio::time::sleep(AGAIN).await;
            let Some(strong) = subscriber.upgrade() else {
                return;
            };
            for home in strong.all_homes() {
                home.ask_displaced();
            }
        }
    }
}

impl Drop for ClusterSubscriber {
    fn drop(&mut self) {
        self.listener.displaced.notify_one();
    }
}
