//! The two channels that instances talk on.

use std::sync::LazyLock;

use crate::redis::request::{Topic, TopicKind};

/// Where events are published. No prefix is put before it.
pub const EVENTS: &str = "covara:events";
/// The own channel of a subscription begins with it.
pub const OWN_PREFIX: &[u8] = b"covara:events:";
/// Where changes of resources are published.
pub const AGGREGATE: &str = "covara:aggregate";

static TOPICS: LazyLock<[Topic; 2]> =
    LazyLock::new(|| [EVENTS, AGGREGATE].map(|name| Topic::new(TopicKind::Channel, name.into())));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Events,
    Aggregate,
}

impl Channel {
    pub const ALL: [Self; 2] = [Channel::Events, Channel::Aggregate];

    pub fn topic(self) -> &'static Topic {
        &TOPICS[self as usize]
    }

    pub fn of(topic: &Topic) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.topic() == topic)
    }
}
