//! What the framework's own callbacks hear: those that a store was given to `subscribe` on the channels of the fan-out.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::records::{Decision, Records, State};
use super::registry::count;
use super::{AGGREGATE, EVENTS, message};
use crate::redis::config::Config;
use crate::redis::hub::{Member, Membership};
use crate::redis::mailbox::{Event, Mail, Mailbox};
use crate::redis::request::{Kind, Topic};
use crate::redis::resp::{self, Skipped};

/// What a callback on the channel of events hears: `redis.fanout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fanout {
    /// What is for streams here, each of which has a channel of its own.
    Targeted,
    /// What is for streams here.
    Filtered,
    All,
}

/// More resources than an application has.
const MAX_RESOURCES: usize = 10_000;

pub struct Streams {
    pub fanout: Fanout,
    /// The server.
    pub place: String,
    pub records: Arc<Records>,
    mailbox: Arc<Mailbox>,
    /// The resources that changes were told of.
    resources: Mutex<HashSet<String>>,
    /// The server lets this user have no channel of a subscription.
    pub refused: AtomicBool,
    /// Messages that were handed over, and those that were for no stream here.
    pub passed: AtomicU64,
    pub dropped: AtomicU64,
}

impl Streams {
    pub fn new(fanout: Fanout, config: &Config, mailbox: Arc<Mailbox>) -> Self {
        Self {
            fanout,
            place: config.place(),
            records: Records::at(config),
            mailbox,
            resources: Mutex::default(),
            refused: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub fn resources(&self) -> Vec<String> {
        self.resources.lock().iter().cloned().collect()
    }

    /// Why everything is handed over, or not; nothing if it is to be.
    pub fn decision(&self) -> Option<Decision> {
        (self.fanout != Fanout::All).then(|| self.records.look().decision())
    }

    /// Whether subscriptions have channels of their own.
    pub fn is_targeted(&self) -> bool {
        self.fanout == Fanout::Targeted && !self.refused.load(Ordering::Relaxed)
    }

    /// Subscribes the channels of subscriptions. Until the server has done so their events come by the fleet's.
    pub fn draw(&self, membership: &Membership, subscriptions: &[Arc<str>]) {
        if self.is_targeted() {
            let topics: Vec<_> = subscriptions.iter().map(|name| topic(name)).collect();
            membership.keep_in_turn(&topics);
        }
    }

    pub fn let_go(&self, membership: &Membership, subscriptions: &[Arc<str>]) {
        if self.fanout == Fanout::Targeted {
            for subscription in subscriptions {
                membership.unsubscribe(None, &topic(subscription), || {});
            }
        }
    }

    /// Hands over what may be for a stream here, as if it had all come by the fleet's channel.
    fn hear(&self, mail: &mut Mail) {
        let (messages, dropped) = mem::take(&mut mail.backlog).into_parts();
        let state = self.records.look();
        for mut message in messages {
            if message.channel == AGGREGATE {
                self.note_resource(&message.payload);
            } else if self.filters(&state, &message.channel) && !state.wants(&message.payload) {
                count(&self.dropped);
                continue;
            } else if message.channel != EVENTS {
                message.channel = Bytes::from_static(EVENTS.as_bytes());
            }
            count(&self.passed);
            mail.backlog.push(message);
        }
        mail.backlog.drop_more(dropped);
    }

    /// Whether what comes by a channel is only for the subscriptions that it names.
    fn filters(&self, state: &State, channel: &[u8]) -> bool {
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

impl Member for Streams {
    fn put(&self, mut mail: Mail) {
        let is_refusal = |event: &mut Event| match event {
            Event::Unsubscribed { topic, .. } => topic.name != EVENTS && topic.name != AGGREGATE,
            _ => false,
        };
        if mail.events.extract_if(.., is_refusal).count() > 0 {
            // The fleet's channel has all of it.
            self.refused.store(true, Ordering::Relaxed);
        }
        if !mail.backlog.is_empty() {
            self.hear(&mut mail);
        }
        if !mail.is_empty() {
            mail.backlog.detach();
            self.mailbox.put(mail);
        }
    }

    fn skip(&self, channel: &[u8], received: &[u8]) -> Skipped {
        let state = self.records.look();
        if !self.filters(&state, channel) {
            return Skipped::default();
        }
        let skipped = resp::skip(received, |message| {
            message.channel == channel && !state.wants(message.payload)
        });
        self.dropped.fetch_add(skipped.messages as u64, Ordering::Relaxed);
        skipped
    }

    fn missing(&self) {
        // The next connection may be another user's, as its rules were changed.
        self.refused.store(false, Ordering::Relaxed);
    }
}

/// The channel of one subscription.
fn topic(subscription: &str) -> Topic {
    Topic {
        kind: Kind::Channel,
        name: format!("{EVENTS}:{subscription}").into(),
    }
}
