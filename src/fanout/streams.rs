//! Messages for the framework's own callbacks: those given to a store's `subscribe` on the channels of the fan-out.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::channel::{AGGREGATE, Channel, OWN_PREFIX};
use super::message;
use super::records::{Decision, Follower, Records, RecordsState, StoreNumber};
use super::registry::count;
use super::ways::{self, Passages, Way, Ways};
use crate::backlog::Message;
use crate::redis::completions::{CompletionBatch, CompletionQueue, Event};
use crate::redis::config::Config;
use crate::redis::protocol::published::{Skipped, skip};
use crate::redis::request::{Topic, TopicKind};
use crate::redis::runtime;
use crate::redis::subscriber::listener::Listener;
use crate::redis::subscriber::one_or_cluster::Subscriber;

/// Which events a callback gets: the option `redis.fanout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fanout {
    /// Those for streams here, each of which has a channel of its own.
    Targeted,
    /// Those for streams here.
    Filtered,
    All,
}

/// More resources than an application has.
const MAX_RESOURCES: usize = 10_000;

/// Those that hear.
static HEARING: Mutex<Vec<Arc<Streams>>> = Mutex::new(Vec::new());

pub struct Streams {
    pub fanout: Fanout,
    store: StoreNumber,
    pub config: Arc<Config>,
    pub records: Arc<Records>,
    completions: Arc<CompletionQueue>,
    ways: Ways,
    this: Weak<Self>,
    /// Present while it hears. Weak, as the subscriber holds its listeners.
    subscriber: Mutex<Weak<Subscriber>>,
    /// Resources with changes.
    resources: Mutex<HashSet<String>>,
    /// The server refuses this user the channels of subscriptions.
    pub refused: AtomicBool,
    /// The server has no shard channels, or refuses them to this user: those of subscriptions are plain ones.
    refuses_shards: AtomicBool,
    /// Messages that were passed on, and those that were for no stream here.
    pub passed: AtomicU64,
    pub dropped: AtomicU64,
}

impl Streams {
    pub fn new(
        fanout: Fanout,
        store: StoreNumber,
        config: &Arc<Config>,
        completions: Arc<CompletionQueue>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            fanout,
            store,
            config: config.clone(),
            records: Records::at(config),
            completions,
            ways: Ways::default(),
            this: this.clone(),
            subscriber: Mutex::default(),
            resources: Mutex::default(),
            refused: AtomicBool::new(false),
            refuses_shards: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    pub fn resources(&self) -> Vec<String> {
        self.resources.lock().iter().cloned().collect()
    }

    /// Whether messages are filtered, or why not; None for `All`.
    pub fn decision(&self) -> Option<Decision> {
        (self.fanout != Fanout::All).then(|| self.records.lock().decision())
    }

    /// The stores of this process that hear.
    pub fn hearing() -> Vec<Arc<Self>> {
        HEARING.lock().clone()
    }

    /// Hears the channel of events from this call on.
    pub fn join(self: &Arc<Self>, subscriber: &Arc<Subscriber>) {
        *self.subscriber.lock() = Arc::downgrade(subscriber);
        self.records.join(self.clone());
        let mut hearing = HEARING.lock();
        if !hearing.iter().any(|other| Arc::ptr_eq(other, self)) {
            hearing.push(self.clone());
        }
    }

    pub fn leave(self: &Arc<Self>) {
        let follower: Arc<dyn Follower> = self.clone();
        self.records.leave(&follower);
        HEARING.lock().retain(|other| !Arc::ptr_eq(other, self));
    }

    /// Gives the JavaScript thread what has come. Held is the lock of what waits.
    fn give(&self, mut batch: CompletionBatch, _held: &mut ways::WaysState) {
        if !batch.is_empty() {
            self.passed
                .fetch_add(batch.backlog.len() as u64, Ordering::Relaxed);
            batch.backlog.detach();
            self.completions.put(batch);
        }
    }

    /// Gives what is held, as each passage that it waits for is over.
    fn release(&self, passages: Passages) {
        let Passages { until, own, fleet } = passages;
        let Some(subscriber) = self.subscriber.lock().upgrade() else {
            // Before it joins there are no own channels, which could bring anything ahead of what is held.
            let mut held = self.ways.lock();
            let mut batch = CompletionBatch::default();
            for (way, subscriptions) in [(Way::Own, own), (Way::Fleet, fleet)] {
                let subscriptions: Vec<_> = subscriptions.into_iter().collect();
                held.has_passed(way, &subscriptions, until, &mut batch);
            }
            return self.give(batch, &mut held);
        };
        let mut topics: Vec<_> = own.iter().map(|name| own_topic(TopicKind::Shard, name)).collect();
        if !fleet.is_empty() {
            topics.push(Channel::Events.topic().clone());
        }
        let fleet: Arc<[_]> = fleet.into_iter().collect();
        for passage in subscriber.passages(topics) {
            let (streams, fleet) = (self.this.clone(), fleet.clone());
            let passes = async move {
                let passed = passage.pass().await;
                let Some(streams) = streams.upgrade() else { return };
                let mut held = streams.ways.lock();
                let mut batch = CompletionBatch::default();
                let own: Vec<_> = passed.iter().filter_map(subscription_of).collect();
                held.has_passed(Way::Own, &own, until, &mut batch);
                if passed.contains(Channel::Events.topic()) {
                    held.has_passed(Way::Fleet, &fleet, until, &mut batch);
                }
                streams.give(batch, &mut held);
            };
            if let Ok(runtime) = runtime::get() {
                runtime::spawn(runtime, passes);
            }
        }
    }

    /// Subscribes plain channels in place of shard channels that were refused. Called while a pipeline is locked.
    fn go_without_shards(&self, refused: Vec<Topic>) {
        self.refuses_shards.store(true, Ordering::Relaxed);
        let streams = self.this.clone();
        if let Ok(runtime) = runtime::get() {
            runtime::spawn(runtime, async move {
                let Some(strong) = streams.upgrade() else { return };
                let follower: Arc<dyn Follower> = strong.clone();
                let name = |topic: &Topic| topic.name.strip_prefix(OWN_PREFIX).map(<[u8]>::to_vec);
                strong
                    .records
                    .again(&follower, &refused.iter().filter_map(name).collect());
            });
        }
    }

    /// Whether a message is for a stream here.
    fn wants(&self, state: &RecordsState, message: &Message) -> bool {
        if message.channel == AGGREGATE {
            self.note_resource(&message.payload);
        } else if self.filters(state, &message.channel) && !state.wants(&message.payload) {
            count(&self.dropped);
            return false;
        }
        true
    }

    /// Whether what comes by a channel is only for the subscriptions that it names.
    fn filters(&self, state: &RecordsState, channel: &[u8]) -> bool {
        let is_events = channel != AGGREGATE.as_bytes();
        is_events && self.fanout != Fanout::All && state.decision() == Decision::Filters
    }

    fn note_resource(&self, payload: &[u8]) {
        let Ok(resource) = message::aggregate(payload) else {
            return;
        };
        let mut resources = self.resources.lock();
        if resources.len() < MAX_RESOURCES {
            resources.insert(resource);
        }
    }
}

impl Follower for Streams {
    fn store(&self) -> StoreNumber {
        self.store
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn is_targeted(&self) -> bool {
        self.fanout == Fanout::Targeted && !self.refused.load(Ordering::Relaxed)
    }

    /// Subscribes their channels. Until the server has done so their events come by the fleet's.
    fn came(&self, subscriptions: &[Arc<str>]) {
        if let Some(subscriber) = self.subscriber.lock().upgrade() {
            let kind = match subscriber.is_cluster() && !self.refuses_shards.load(Ordering::Relaxed) {
                true => TopicKind::Shard,
                false => TopicKind::Channel,
            };
            let names = subscriptions.iter().map(|name| name.as_bytes());
            let topics: Vec<_> = names.map(|name| own_topic(kind, name)).collect();
            subscriber.keep_batched(&topics);
        }
    }

    fn went(&self, subscriptions: &[Arc<str>]) {
        let subscriber = self.subscriber.lock().upgrade();
        if self.fanout == Fanout::Targeted
            && let Some(subscriber) = subscriber
        {
            for subscription in subscriptions {
                // Whichever was allowed at the time.
                for kind in [TopicKind::Shard, TopicKind::Channel] {
                    let topic = own_topic(kind, subscription.as_bytes());
                    subscriber.unsubscribe(None, &topic, || {
                        let mut held = self.ways.lock();
                        let mut batch = CompletionBatch::default();
                        held.leave(subscription.as_bytes(), &mut batch);
                        self.give(batch, &mut held);
                    });
                }
            }
        }
    }
}

impl Listener for Streams {
    fn put(&self, mut batch: CompletionBatch) {
        let is_refusal = |event: &mut Event| match event {
            Event::Unsubscribed { topic, .. } => Channel::of(topic).is_none(),
            _ => false,
        };
        let mut plain = Vec::new();
        for event in batch.events.extract_if(.., is_refusal) {
            match event {
                Event::Unsubscribed { topic, .. } if topic.kind == TopicKind::Shard => plain.push(topic),
                // All events come by the fleet's channel too.
                _ => self.refused.store(true, Ordering::Relaxed),
            }
        }
        if !plain.is_empty() {
            self.go_without_shards(plain);
        }
        let mut held = self.ways.lock();
        let passages = {
            let state = self.records.lock();
            held.hold(&mut batch, |message| self.wants(&state, message))
        };
        if let Some(passages) = passages {
            // The subscriber is locked before any pipeline, of which one is locked here.
            let streams = self.this.clone();
            if let Ok(runtime) = runtime::get() {
                runtime::spawn(runtime, async move {
                    if let Some(streams) = streams.upgrade() {
                        streams.release(passages);
                    }
                });
            }
        }
        self.give(batch, &mut held);
    }

    fn skip(&self, channel: &[u8], received: &[u8]) -> Skipped {
        let state = self.records.lock();
        if !self.filters(&state, channel) {
            return Skipped::default();
        }
        let skipped = skip(received, |message| {
            message.channel == channel && !state.wants(message.payload)
        });
        self.dropped.fetch_add(skipped.messages as u64, Ordering::Relaxed);
        skipped
    }

    fn gap_began(&self) {
        // The server may allow them to the next connection.
        self.refused.store(false, Ordering::Relaxed);
        self.refuses_shards.store(false, Ordering::Relaxed);
    }
}

/// The own channel of a subscription.
fn own_topic(kind: TopicKind, subscription: &[u8]) -> Topic {
    Topic::new(kind, [OWN_PREFIX, subscription].concat().into())
}

/// The subscription that has an own channel.
fn subscription_of(topic: &Topic) -> Option<Bytes> {
    let name = topic.name.strip_prefix(OWN_PREFIX)?;
    Some(topic.name.slice_ref(name))
}
