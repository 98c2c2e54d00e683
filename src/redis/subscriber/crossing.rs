//! Topics on their way from one home to another, so that no message of the old home comes twice.
//!
//! They are left at the answer to a message that is published at the old home. The bus brings that message to the new one behind all that
//! the old home had published before: where it was heard, none of it is still to come, and the topics are subscribed. Until then nothing
//! is heard, and a gap tells so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use hashbrown::HashMap;
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::{sleep, timeout};

use crate::error::Reason;
use crate::redis::connection::backoff::jitter;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::Health;
use crate::redis::request::{Kind, Topic};
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::ear::{Ear, Signals};
use crate::redis::subscriber::homes::{ClusterSubscriber, Place, State, home_of};

/// How long a home may take for its answer, and how long the bus may still bring what a home has published that is gone.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much later than topics a publisher may leave the old home. Its last messages come by the bus, and the next ones not.
const PUBLISHERS: Duration = Duration::from_millis(50);
/// The bus may lose the message: it is published again after this time.
const AGAIN: Duration = Duration::from_millis(100);

/// Those that go on.
#[derive(Default)]
pub struct Crossings {
    last: u64,
    homes: HashMap<u64, (Endpoint, Endpoint)>,
}

impl Crossings {
    pub fn begin(
        &mut self,
        from: Endpoint,
        to: Endpoint,
        old: Option<Arc<SubscriberHandle>>,
        topics: Vec<Topic>,
        confirmed: Option<SystemTime>,
    ) -> Crossing {
        self.last += 1;
        self.homes.insert(self.last, (from.clone(), to.clone()));
        Crossing {
            number: self.last,
            from,
            to,
            old,
            topics,
            channel: own_channel("crossing"),
            last: own_channel("crossed"),
            confirmed,
        }
    }

    /// The old home of a crossing.
    pub fn from(&self, number: u64) -> Option<&Endpoint> {
        self.homes.get(&number).map(|(from, _)| from)
    }

    pub fn use_home(&self, endpoint: &Endpoint) -> bool {
        let mut homes = self.homes.values();
        homes.any(|(from, to)| from == endpoint || to == endpoint)
    }
}

pub struct Crossing {
    pub number: u64,
    from: Endpoint,
    to: Endpoint,
    old: Option<Arc<SubscriberHandle>>,
    pub topics: Vec<Topic>,
    /// By which they cross, and by which the last publishers do.
    channel: Topic,
    last: Topic,
    /// When a node said last that the old home was the right one.
    confirmed: Option<SystemTime>,
}

impl Crossing {
    /// Ends with the subscriber, which it does not keep.
    pub async fn run(self, subscriber: Weak<ClusterSubscriber>, ear: Arc<Ear>) {
        let (subscribed, is_subscribed) = oneshot::channel();
        let (departed, has_departed) = oneshot::channel();
        let (heard, is_heard) = oneshot::channel();
        let signals = Signals {
            node: self.from.to_string().into(),
            subscribed: Some(subscribed),
            departed: Some(departed),
            heard: Some(heard),
        };
        let (followed, is_followed) = oneshot::channel();
        let last = Signals {
            node: signals.node.clone(),
            subscribed: None,
            departed: None,
            heard: Some(followed),
        };
        let own = [(self.channel.clone(), signals), (self.last.clone(), last)];
        ear.awaited.lock().own.extend(own);
        let until = subscriber
            .upgrade()
            .map(|strong| Instant::now() + strong.limits().timeout);
        if let (Some(old), Some(until)) = (&self.old, until)
            && let Some(is_open) = self.open(&subscriber, is_subscribed, until).await
        {
            self.depart(old, is_open, has_departed).await;
            if is_open {
                let by = (&self.channel, is_heard);
                if self.wait(&subscriber, &ear, old, by, until).await {
                    sleep(PUBLISHERS).await;
                    old.publish(&self.last);
                    let by = (&self.last, is_followed);
                    self.wait(&subscriber, &ear, old, by, until).await;
                }
            } else {
                sleep(PATIENCE).await;
            }
        }
        for channel in [&self.channel, &self.last] {
            ear.awaited.lock().own.remove(channel);
        }
        if let Some(subscriber) = subscriber.upgrade() {
            self.finish(&subscriber);
        }
    }

    /// Returns once the new home brings the channel. False if it will not, or not in time; None if the topics are to go elsewhere.
    async fn open(
        &self,
        subscriber: &Weak<ClusterSubscriber>,
        mut is_subscribed: Receiver<()>,
        until: Instant,
    ) -> Option<bool> {
        let home = subscriber.upgrade()?.home_at(&self.to)?;
        // The one that is confirmed last is waited for.
        for channel in [&self.last, &self.channel] {
            home.keep(channel, Arc::default());
        }
        drop(home);
        loop {
            if let Ok(outcome) = timeout(AGAIN, &mut is_subscribed).await {
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
    async fn depart(&self, old: &SubscriberHandle, is_open: bool, has_departed: Receiver<()>) {
        let departure = old.departure(&self.topics, &self.channel);
        if is_open && old.health().is_ready {
            old.begin_departure(&departure);
            // An old home that does not answer is left all the same.
            let _ = timeout(PATIENCE, has_departed).await;
        }
        old.end_departure(&departure);
    }

    /// Returns once nothing of the old home is still to come: true if a channel has brought that, false if it is gone. A home that is frozen or cut off may go on
    /// and bring what it had published. It is waited for as long as a publisher does.
    async fn wait(
        &self,
        subscriber: &Weak<ClusterSubscriber>,
        ear: &Ear,
        old: &SubscriberHandle,
        (channel, mut is_heard): (&Topic, Receiver<()>),
        until: Instant,
    ) -> bool {
        let departed = Instant::now();
        loop {
            match timeout(AGAIN, &mut is_heard).await {
                Ok(Ok(())) => return true,
                // A user that may not use the channel crosses without it.
                Ok(Err(_)) => {
                    sleep(PATIENCE).await;
                    return false;
                }
                Err(_) => {}
            }
            let health = old.health();
            if Instant::now() >= until || is_gone(&health) || !self.is_right(subscriber) {
                return false;
            }
            if !health.is_ready {
                continue;
            }
            old.publish(channel);
            // It answers, and is cut off: for how long is not known. What others have published at the new home was missed.
            if departed.elapsed() >= PATIENCE
                && let Some(confirmed) = self.confirmed
            {
                ear.awaited.lock().widen(&self.topics, confirmed);
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

    fn finish(&self, subscriber: &ClusterSubscriber) {
        let mut state = subscriber.lock();
        let State {
            map,
            homes,
            topics: known,
            crossings,
            ..
        } = &mut *state;
        crossings.homes.remove(&self.number);
        if let Some(home) = homes.get(&self.to) {
            for channel in [&self.channel, &self.last] {
                home.unsubscribe(None, channel, || {});
            }
        }
        let (mut arrivals, mut others, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for topic in &self.topics {
            let kept = known.get_mut(topic);
            let Some(kept) = kept.filter(|kept| kept.place == Place::Crossing(self.number)) else {
                left.push(topic);
                continue;
            };
            let home = map.as_ref().and_then(|map| home_of(map, topic));
            if home.is_none_or(|home| *home == self.to) {
                arrivals.push(topic.clone());
            } else {
                kept.place = Place::At(self.from.clone());
                others.push(topic.clone());
            }
        }
        if !arrivals.is_empty() {
            subscriber.arrive(&mut state, &self.to, &arrivals);
        }
        subscriber.place(&mut state, &others);
        subscriber.close_unused(&mut state);
        drop(state);
        subscriber.ear.forget(&left);
    }
}

/// Whether what was published there is lost, or has come: the server has closed the connection, and another one is not to be had.
fn is_gone(health: &Health) -> bool {
    let reason = health.cause.as_ref().and_then(|cause| cause.reason);
    let is_silent = matches!(reason, Some(Reason::Silent | Reason::NoAnswer));
    !health.is_ready && !is_silent && health.since.elapsed() >= PATIENCE
}

/// A channel that nobody else has.
pub fn own_channel(purpose: &str) -> Topic {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = jitter().to_bits();
    let process = std::process::id();
    Topic {
        kind: Kind::Channel,
        name: format!("covara-kv:{purpose}:{process}-{number}-{random:x}").into(),
    }
}
