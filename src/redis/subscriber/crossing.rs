//! Topics on their way from one home to another, so that no message of the old home comes twice.
//!
//! They are left at the answer to a message that is published at the old home. The bus keeps order. When the message arrives at the new
//! home, everything that the old home published before it has arrived too. Then the topics are subscribed there. Until then their messages
//! are missed, which a gap tells.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, Receiver};
use tokio::time::{sleep, timeout};

use crate::error::Reason;
use crate::redis::cluster::publishing::BUS_TIMEOUT;
use crate::redis::pipeline::Health;
use crate::redis::request::TopicKind;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::cluster_listener::{ClusterListener, Signals};
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::places::{Crossing, Place, Places, home_of, own_channel};
use crate::redis::subscriber::probe::Probe;

/// How long a home may take for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// The bus may lose the message: it is published again after this time.
const AGAIN: Duration = Duration::from_millis(100);
/// How many other masters are to publish, as each message goes to all nodes. Where there are more, the bus is given its time.
const MOST_OTHERS: usize = 16;

impl Crossing {
    /// Ends with the subscriber, which it does not keep.
    pub async fn run(self, subscriber: Weak<ClusterSubscriber>, listener: Arc<ClusterListener>) {
        let (subscribed, on_subscribed) = oneshot::channel();
        let (departed, on_departed) = oneshot::channel();
        let (heard, on_heard) = oneshot::channel();
        let signals = Signals {
            subscribed: Some(subscribed),
            departed: Some(departed),
            heard: Some(heard),
        };
        listener.awaited.lock().own.insert(self.channel.clone(), signals);
        let until = subscriber
            .upgrade()
            .map(|strong| Instant::now() + strong.limits().timeout);
        let mut is_given_up = false;
        if let (Some(old), Some(until)) = (&self.old, until) {
            let opened = self.open(&subscriber, on_subscribed, until).await;
            is_given_up = opened.is_none();
            if let Some(is_open) = opened {
                self.depart(old, is_open, on_departed).await;
                if is_open {
                    self.wait(&subscriber, &listener, old, on_heard, until).await;
                    if self.is_of_patterns() {
                        self.pass_others(&subscriber, &listener, until).await;
                    }
                } else {
                    sleep(BUS_TIMEOUT).await;
                }
            }
        }
        listener.awaited.lock().own.remove(&self.channel);
        if let Some(subscriber) = subscriber.upgrade() {
            self.finish(&subscriber, is_given_up);
        }
    }

    /// Returns once the new home brings the channel. False if it will not, or not in time; None if the topics are to go elsewhere.
    async fn open(
        &self,
        subscriber: &Weak<ClusterSubscriber>,
        mut on_subscribed: Receiver<()>,
        until: Instant,
    ) -> Option<bool> {
        let home = subscriber.upgrade()?.home_at(&self.to)?;
        home.keep(&self.channel, Arc::default());
        drop(home);
        loop {
            if let Ok(outcome) = timeout(AGAIN, &mut on_subscribed).await {
                return Some(outcome.is_ok());
            }
            if Instant::now() >= until {
                return Some(false);
            }
            if !self.is_right(subscriber) {
                return None;
            }
        }
    }

    /// Returns once the topics are left. Until then they are heard at the old home.
    async fn depart(&self, old: &SubscriberHandle, is_open: bool, on_departed: Receiver<()>) {
        let node = self.from.to_string().into();
        let departure = old.departure(self.leaving.clone(), node, &self.channel);
        if is_open && old.health().is_ready {
            old.begin_departure(&departure);
            // An old home that does not answer is left all the same.
            let _ = timeout(ANSWER_TIMEOUT, on_departed).await;
        }
        old.end_departure(&departure);
    }

    /// Returns once nothing of the old home is still to come: the channel has brought that, or the home is gone. A home that is frozen or
    /// cut off may go on and bring what it had published. It is waited for as long as a publisher does.
    async fn wait(
        &self,
        subscriber: &Weak<ClusterSubscriber>,
        listener: &ClusterListener,
        old: &SubscriberHandle,
        mut on_heard: Receiver<()>,
        until: Instant,
    ) {
        let departed = Instant::now();
        loop {
            match timeout(AGAIN, &mut on_heard).await {
                Ok(Ok(())) => return,
                // A user that may not use the channel crosses without it.
                Ok(Err(_)) => return sleep(BUS_TIMEOUT).await,
                Err(_) => {}
            }
            let health = old.health();
            if Instant::now() >= until || is_gone(&health) || !self.is_right(subscriber) {
                return;
            }
            if !health.is_ready {
                continue;
            }
            old.publish(&self.channel);
            // It answers, and is cut off: for how long is not known. What others have published at the new home was missed.
            if departed.elapsed() >= BUS_TIMEOUT
                && let Some(confirmed) = self.confirmed
            {
                listener.awaited.lock().widen(&self.topics, confirmed);
            }
        }
    }

    fn is_of_patterns(&self) -> bool {
        self.topics.iter().any(|topic| topic.kind == TopicKind::Pattern)
    }

    /// Returns once what other masters had published has come to the new home. Each has a way of its own to each home, and patterns hear all.
    async fn pass_others(
        &self,
        subscriber: &Weak<ClusterSubscriber>,
        listener: &Arc<ClusterListener>,
        until: Instant,
    ) {
        let Some(strong) = subscriber.upgrade() else {
            return;
        };
        let (topology, home) = (strong.topology.clone(), strong.home_at(&self.to));
        drop(strong);
        let (Some(map), Some(home)) = (topology.map(), home) else {
            return;
        };
        let masters = map.masters().iter();
        let others: Vec<_> = masters
            .filter(|master| **master != self.from && **master != self.to)
            .collect();
        if others.len() > MOST_OTHERS {
            return sleep(BUS_TIMEOUT).await;
        }
        for master in others {
            let mut is_late = true;
            while is_late && Instant::now() < until && self.is_right(subscriber) {
                let probe = Probe {
                    topology: &topology,
                    listener,
                    endpoint: self.to.clone(),
                    longest: BUS_TIMEOUT,
                    channel: own_channel("crossing"),
                };
                is_late = probe.is_deaf(&home, std::slice::from_ref(master)).await;
            }
        }
    }

    /// Whether the new home still is the home of what crosses.
    fn is_right(&self, subscriber: &Weak<ClusterSubscriber>) -> bool {
        let Some(subscriber) = subscriber.upgrade() else {
            return false;
        };
        let state = subscriber.lock();
        let map = state.map.as_ref();
        let home = |topic| map.and_then(|map| home_of(map, topic));
        let mut homes = self.topics.iter().filter_map(home);
        !state.is_over && homes.any(|home| *home == self.to)
    }

    /// A crossing that was given up has left nothing. Its topics are still subscribed at the old home: at both homes each message would come
    /// twice.
    fn finish(&self, subscriber: &ClusterSubscriber, is_given_up: bool) {
        let mut state = subscriber.lock();
        let Places {
            map,
            homes,
            topics: known,
            crossings,
            ..
        } = &mut *state;
        crossings.end(self.number);
        if let Some(home) = homes.get(&self.to) {
            home.unsubscribe(None, &self.channel, || {});
        }
        let (mut arrivals, mut others, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let here = if is_given_up { &self.from } else { &self.to };
        for topic in &self.topics {
            let kept = known.get_mut(topic);
            let Some(kept) = kept.filter(|kept| kept.place == Place::Crossing(self.number)) else {
                left.push(topic);
                continue;
            };
            let home = map.as_ref().and_then(|map| home_of(map, topic));
            if home.is_none_or(|home| home == here) {
                arrivals.push(topic.clone());
            } else {
                kept.place = Place::At(self.from.clone());
                others.push(topic.clone());
            }
        }
        if !arrivals.is_empty() {
            subscriber.arrive(&mut state, here, &arrivals);
        }
        subscriber.place(&mut state, &others);
        subscriber.close_unused(&mut state);
        drop(state);
        subscriber.listener.forget(&left, &self.channel);
    }
}

/// Whether what was published there is lost, or has come: the server has closed the connection, and its host says that nothing listens there.
/// Any other cause may be the network's: the home may have published what is still to come by the bus.
pub fn is_gone(health: &Health) -> bool {
    let reason = health.cause.as_ref().and_then(|cause| cause.reason);
    !health.is_ready && reason == Some(Reason::Refused) && health.since.elapsed() >= BUS_TIMEOUT
}
