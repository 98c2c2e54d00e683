//! Where a cluster's topics are subscribed, and which of them are on their way to another home.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::connection::backoff::jitter;
use crate::redis::endpoint::Endpoint;
use crate::redis::request::{Leaving, Topic, TopicKind};
use crate::redis::slot::{Slot, slot_of};
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::listener::TopicState;

/// Patterns have no slot: all are at one node, which hears the channels of the others by the bus.
const HOME_OF_PATTERNS: Slot = 0;

#[derive(Default)]
pub struct Places {
    pub map: Option<Arc<SlotMap>>,
    pub homes: HashMap<Endpoint, Arc<SubscriberHandle>>,
    pub topics: HashMap<Topic, Desired>,
    pub crossings: Crossings,
    /// The subscriber has closed.
    pub is_over: bool,
}

impl Places {
    /// The home at which a topic is heard, if it still is.
    pub fn heard_at(&self, topic: &Topic) -> Option<&Endpoint> {
        match &self.topics.get(topic)?.place {
            Place::At(home) => Some(home),
            Place::Crossing(number) => self.crossings.from(*number),
            Place::Nowhere => None,
        }
    }
}

/// A topic that is subscribed.
pub struct Desired {
    pub place: Place,
    /// There may be thousands: they are subscribed in batches, and their states are not asked for.
    pub is_batched: bool,
    pub state: Arc<TopicState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The map is not known yet.
    Nowhere,
    /// Subscribed there, or about to be.
    At(Endpoint),
    /// On its way to another home, with the crossing of this number.
    Crossing(u64),
}

/// Topics on their way to other homes.
#[derive(Default)]
pub struct Crossings {
    last: u64,
    under_way: HashMap<u64, UnderWay>,
}

struct UnderWay {
    from: Endpoint,
    to: Endpoint,
    leaving: Leaving,
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
        let leaving = Arc::new(Mutex::new(Some(topics.iter().cloned().collect())));
        let under_way = UnderWay {
            from: from.clone(),
            to: to.clone(),
            leaving: leaving.clone(),
        };
        self.under_way.insert(self.last, under_way);
        Crossing {
            number: self.last,
            from,
            to,
            old,
            topics,
            leaving,
            channel: own_channel("crossing"),
            confirmed,
        }
    }

    pub fn end(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// The old home of a crossing.
    pub fn from(&self, number: u64) -> Option<&Endpoint> {
        self.under_way.get(&number).map(|crossing| &crossing.from)
    }

    /// A topic is unsubscribed: the crossing is not to take it from its old home, where it may be subscribed anew.
    pub fn take_out(&self, number: u64, topic: &Topic) {
        if let Some(crossing) = self.under_way.get(&number) {
            take_out(&crossing.leaving, topic);
        }
    }

    pub fn is_in_use(&self, endpoint: &Endpoint) -> bool {
        let mut crossings = self.under_way.values();
        crossings.any(|crossing| crossing.from == *endpoint || crossing.to == *endpoint)
    }
}

pub fn take_out(leaving: &Leaving, topic: &Topic) {
    if let Some(topics) = &mut *leaving.lock() {
        topics.remove(topic);
    }
}

pub struct Crossing {
    pub number: u64,
    pub from: Endpoint,
    pub to: Endpoint,
    pub old: Option<Arc<SubscriberHandle>>,
    pub topics: Vec<Topic>,
    pub leaving: Leaving,
    /// Channel that carries the crossing's marker message.
    pub channel: Topic,
    /// When another node said last that the old home was the right one.
    pub confirmed: Option<SystemTime>,
}

/// The master of a topic's slot.
pub fn home_of<'a>(map: &'a SlotMap, topic: &Topic) -> Option<&'a Endpoint> {
    map.owner(slot_of_home(topic))
}

/// The slot whose master is a topic's home.
pub fn slot_of_home(topic: &Topic) -> Slot {
    match topic.kind {
        TopicKind::Channel | TopicKind::Shard => slot_of(&topic.name),
        TopicKind::Pattern => HOME_OF_PATTERNS,
    }
}

/// A channel that no other process has.
pub fn own_channel(purpose: &str) -> Topic {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = jitter().to_bits();
    let process = std::process::id();
    let name = format!("covara-kv:{purpose}:{process}-{number}-{random:x}");
    Topic::new(TopicKind::Channel, name.into())
}
