//! Messages keep the order of their calls when their home moves. The next one waits until the bus has brought to the new home what the
//! store published at the old one. Otherwise subscribers of other clients could get it before the earlier ones.
//!
//! The store subscribes a channel of its own at the new home, and publishes to it at the old one, behind all it has published there. A
//! node's bus connection to another keeps the order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::sync::oneshot::{Receiver, Sender};
use tokio::time::{sleep, timeout};

use crate::error::Result;
use crate::redis::cluster::fence::Fences;
use crate::redis::cluster::node::Node;
use crate::redis::config::Config;
use crate::redis::endpoint::Endpoint;
use crate::redis::request::{Fate, Observer, Topic};
use crate::redis::slot::Slot;

/// The bus may lose a message: it is published again after this time.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the bus may still bring what a node has published that is gone.
pub const BUS_TIMEOUT: Duration = Duration::from_millis(500);

/// Subscribes a channel of the process's own at a node.
pub type Listen = fn(&Config, &Endpoint) -> Result<Hearing>;

/// A channel of the process's own. Both receivers fail once the node has refused the channel.
pub struct Hearing {
    pub channel: Topic,
    pub subscribed: Receiver<()>,
    pub heard: Receiver<()>,
    /// Dropping it ends the subscription.
    pub subscription: Box<dyn Send + Sync>,
}

/// Where a router publishes.
#[derive(Default)]
pub struct Publishing {
    pub last: HashMap<Slot, Last>,
    /// Messages that wait for a propagation.
    pub fences: Fences,
    pub propagations: Vec<Propagation>,
}

/// Where the last message of a slot was published. Nodes are told by their numbers.
pub struct Last {
    pub node: u64,
    /// What it had published has come to this one.
    pub reached: Option<u64>,
}

/// By the bus from one home to another, for all slots that have moved there with one map.
pub struct Propagation {
    /// The number by which the router learns of its end.
    pub number: u64,
    pub from: u64,
    pub to: u64,
    /// No slot has moved since it began.
    pub is_current: bool,
    pub is_over: bool,
    /// Nothing is sent: its task ends when this is dropped.
    pub _wanted: Sender<()>,
}

impl Publishing {
    /// Whether the last message of a slot was published at this node.
    pub fn has_published(&self, node: u64) -> bool {
        self.last.values().any(|last| last.node == node)
    }

    /// Whether messages wait for what this node has published.
    pub fn propagates_from(&self, node: u64) -> bool {
        let mut propagations = self.propagations.iter();
        propagations.any(|propagation| propagation.from == node && !propagation.is_over)
    }

    /// Slots have moved. A later propagation is one of its own, as more may have been published since. Messages wait for those that are under
    /// way only if these lead to where the messages go: `is_home` is told a slot and a node.
    pub fn moved(
        &mut self,
        slots_of: &mut HashMap<u64, Vec<Slot>>,
        is_home: impl Fn(Slot, u64) -> bool,
        now: Instant,
    ) {
        let fences = &mut self.fences;
        self.propagations.retain_mut(|propagation| {
            propagation.is_current = false;
            let slots = slots_of.get_mut(&propagation.number);
            let Some(slots) = slots.filter(|_| !propagation.is_over) else {
                return false;
            };
            for slot in slots.extract_if(.., |slot| !is_home(*slot, propagation.to)) {
                fences.change(slot, |fence| fence.ended(propagation.number, now));
            }
            !slots.is_empty()
        });
    }

    /// The propagation of this number has ended, if it is one that messages wait for.
    pub fn ended(&mut self, number: u64, slots: &[Slot], now: Instant) {
        let mut propagations = self.propagations.iter_mut();
        let Some(propagation) = propagations.find(|propagation| propagation.number == number) else {
            return;
        };
        propagation.is_over = true;
        let to = propagation.to;
        self.propagations
            .retain(|propagation| propagation.is_current || !propagation.is_over);
        for slot in slots {
            if let Some(last) = self.last.get_mut(slot) {
                last.reached = Some(to);
            }
            self.fences.change(*slot, |fence| fence.ended(number, now));
        }
    }
}

/// Returns once what a node has published has come to another, where a channel is heard. If the channel is refused, or the node is lost,
/// it returns `BUS_TIMEOUT` later.
pub async fn publish_until_heard(hearing: Hearing, from: &Node) {
    let Hearing {
        channel,
        subscribed,
        mut heard,
        subscription,
    } = hearing;
    // A user that may not use the channel goes without.
    if subscribed.await.is_err() {
        return sleep(BUS_TIMEOUT).await;
    }
    let publish = || {
        from.connection.with(|pipeline| {
            let is_connected = pipeline.is_connected();
            if is_connected {
                let command: [&[u8]; 3] = [b"PUBLISH", &channel.name, b""];
                pipeline.ask(&command, Arc::new(Unobserved), Instant::now());
            }
            is_connected
        })
    };
    loop {
        let is_gone = !publish();
        let wait = if is_gone { BUS_TIMEOUT } else { AGAIN };
        if timeout(wait, &mut heard).await.is_ok() || is_gone {
            break;
        }
    }
    drop(subscription);
}

/// The reply tells nothing: the message itself does.
#[derive(Debug)]
struct Unobserved;

impl Observer for Unobserved {
    fn replied(&self, _: &Bytes) {}

    fn unanswered(&self, _: Fate) {}
}
