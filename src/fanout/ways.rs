//! In a cluster the events of a subscription come by two connections: that of its own channel, and that of the fleet's. A publisher that
//! changes from one to the other must not be heard in another order. So an event waits for the passage of what the other home had sent:
//!
//! - by an own channel that is new, as publishers may have used the fleet's before;
//! - by the fleet's where an own channel is subscribed, as it may have lost its subscribers with its home.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use super::channel::{EVENTS, OWN_PREFIX};
use super::message;
use crate::backlog::{MAX_BYTES, MAX_MESSAGES, Message};
use crate::redis::completions::{CompletionBatch, Gap};
use crate::redis::config::Limits;
use crate::redis::request::Topic;
use crate::redis::subscriber::passage::Passed;

/// For how long publishers take an own channel to have no subscriber, once they have found none: `REMEMBERED_MS` of redis-publisher.ts.
const REMEMBERED: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Ways(Mutex<State>);

#[derive(Default)]
pub struct State {
    own: HashMap<Bytes, Own, RandomState>,
    /// What is held of each subscription.
    held: HashMap<Bytes, Held, RandomState>,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Nothing was held before.
    since: Option<SystemTime>,
    /// The number of the last event that was held.
    last: u64,
    gap: Option<LaterGap>,
}

/// A gap that waits for events that came before it: who reads the state again then must be behind none of them.
struct LaterGap {
    gap: Gap,
    /// The last of these events, and how many are still held.
    until: u64,
    held: usize,
}

/// An own channel that is subscribed.
struct Own {
    topic: Topic,
    /// How often it has gone live: each time at another connection.
    lives: u64,
    /// Until then an event of the fleet's channel may be on its way that precedes what comes by this one. None before it is live.
    new_until: Option<Instant>,
}

#[derive(Default)]
struct Held {
    /// By the fleet's channel: whether the own channel had left its home at the end of the passage.
    fleet: VecDeque<Waiting<bool>>,
    /// By the own channel: the last event that was held at the end of the passage.
    own: VecDeque<Waiting<u64>>,
}

struct Waiting<Passed> {
    message: Message,
    number: u64,
    /// The lives of the own channel when it came.
    lives: u64,
    /// None until the passage is over.
    passed: Option<Passed>,
}

/// The passages that events wait for.
#[derive(Default)]
pub struct Passages {
    /// The number of the last of these events.
    pub until: u64,
    /// Own channels whose homes' passage is waited for.
    pub own: HashSet<Topic>,
    /// Subscriptions that wait for the passage of the fleet's channel.
    pub fleet: HashSet<Bytes>,
}

impl Ways {
    /// An own channel is about to be subscribed.
    pub fn is_coming(&self, topic: &Topic) {
        self.0.lock().own_of(topic);
    }

    /// An own channel is live. A publisher that has found no subscriber before may go on with the channel of the fleet for this long.
    pub fn is_live(&self, topic: &Topic, limits: &Limits) {
        let mut state = self.0.lock();
        let own = state.own_of(topic);
        own.topic = topic.clone();
        own.lives += 1;
        own.new_until = Some(Instant::now() + REMEMBERED + limits.queue_timeout + limits.timeout);
    }

    /// Held while messages are given: what is released meanwhile keeps its place.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    fn own_of(&mut self, topic: &Topic) -> &mut Own {
        self.own.entry(subscription_of(topic)).or_insert_with(|| Own {
            topic: topic.clone(),
            lives: 0,
            new_until: None,
        })
    }

    /// An own channel is left: drops what is held of its subscription.
    pub fn leave(&mut self, topic: &Topic, batch: &mut CompletionBatch) {
        let subscription = subscription_of(topic);
        self.own.remove(&subscription);
        if let Some(held) = self.held.remove(&subscription) {
            let Held { fleet, own } = held;
            fleet.iter().for_each(|waiting| self.released(waiting));
            own.iter().for_each(|waiting| self.released(waiting));
        }
        self.tell_gap(batch);
    }

    /// Takes the messages that have to wait out of a batch, and a gap behind them, and tells what they wait for.
    pub fn hold(&mut self, batch: &mut CompletionBatch, now: Instant) -> Option<Passages> {
        if self.own.is_empty() {
            return None;
        }
        let mut passages = Passages::default();
        let (messages, overflow) = mem::take(&mut batch.backlog).into_parts();
        for message in messages {
            if let Some(message) = self.hold_one(message, now, &mut passages, batch) {
                batch.backlog.push(message);
            }
        }
        if let Some(since) = overflow {
            batch.backlog.overflow(since);
        }
        if let Some(gap) = batch.gap.take() {
            self.hold_gap(gap);
            self.tell_gap(batch);
        }
        passages.until = self.last;
        (!passages.own.is_empty() || !passages.fleet.is_empty()).then_some(passages)
    }

    /// Gives the message back unless it has to wait.
    fn hold_one(
        &mut self,
        message: Message,
        now: Instant,
        passages: &mut Passages,
        batch: &mut CompletionBatch,
    ) -> Option<Message> {
        let is_fleet = message.channel == EVENTS;
        let subscription = if is_fleet {
            message::plain_subscription(&message.payload).map(str::as_bytes)
        } else {
            message.channel.strip_prefix(OWN_PREFIX)
        };
        let found = subscription.and_then(|name| self.own.get_key_value(name));
        let Some((subscription, own)) = found else {
            return Some(message);
        };
        let has_before = self
            .held
            .get(subscription)
            .is_some_and(|held| !held.own.is_empty());
        if !is_fleet && !has_before && own.new_until.is_some_and(|until| now >= until) {
            return Some(message);
        }
        let (subscription, lives) = (subscription.clone(), own.lives);
        if is_fleet {
            passages.own.insert(own.topic.clone());
        } else {
            passages.fleet.insert(subscription.clone());
        }
        let message = message.copied();
        let is_full = self.messages >= MAX_MESSAGES || self.bytes + message.size() > MAX_BYTES;
        if is_full && let Some(since) = self.since {
            self.give_all(batch);
            self.tell_gap(batch);
            batch.backlog.overflow(since);
        }
        self.since.get_or_insert_with(SystemTime::now);
        self.messages += 1;
        self.bytes += message.size();
        self.last += 1;
        let held = self.held.entry(subscription).or_default();
        if is_fleet {
            held.fleet.push_back(Waiting::new(message, self.last, lives));
        } else {
            held.own.push_back(Waiting::new(message, self.last, lives));
        }
        None
    }

    /// The passage of the home of own channels is over: gives what waits no more.
    pub fn own_have_passed(&mut self, passed: &[Passed], until: u64, batch: &mut CompletionBatch) {
        for Passed { topic, is_live } in passed {
            let subscription = subscription_of(topic);
            let lives = self.own.get(&subscription).map(|own| own.lives);
            let Some(held) = self.held.get_mut(&subscription) else {
                continue;
            };
            for waiting in held.fleet.iter_mut().filter(|waiting| waiting.is_due(until)) {
                waiting.passed = Some(!is_live || lives != Some(waiting.lives));
            }
            self.give(&subscription, batch);
        }
    }

    /// The passage of the home of the fleet's channel is over: gives what waits no more.
    pub fn fleet_has_passed(
        &mut self,
        subscriptions: &HashSet<Bytes>,
        until: u64,
        batch: &mut CompletionBatch,
    ) {
        for subscription in subscriptions {
            let Some(held) = self.held.get_mut(subscription) else {
                continue;
            };
            for waiting in held.own.iter_mut().filter(|waiting| waiting.is_due(until)) {
                waiting.passed = Some(self.last);
            }
            self.give(subscription, batch);
        }
    }

    /// Gives what is held of a subscription, as far as its order is known.
    fn give(&mut self, subscription: &Bytes, batch: &mut CompletionBatch) {
        while let Some(waiting) = self.held.get_mut(subscription).and_then(Held::next) {
            self.released(&waiting);
            batch.backlog.push(waiting.message);
        }
        if self.held.get(subscription).is_some_and(Held::is_empty) {
            self.held.remove(subscription);
        }
        self.tell_gap(batch);
    }

    fn hold_gap(&mut self, gap: Gap) {
        let mut both = CompletionBatch {
            gap: self.gap.take().map(|later| later.gap),
            ..CompletionBatch::default()
        };
        both.push_gap(gap);
        self.gap = both.gap.map(|gap| LaterGap {
            gap,
            until: self.last,
            held: self.messages,
        });
    }

    fn tell_gap(&mut self, batch: &mut CompletionBatch) {
        if let Some(later) = self.gap.take_if(|later| later.held == 0) {
            batch.push_gap(later.gap);
        }
    }

    /// Gives all that is held: there is no room for more, which is told as a gap.
    fn give_all(&mut self, batch: &mut CompletionBatch) {
        for (subscription, mut held) in mem::take(&mut self.held) {
            let lives = self.own.get(&subscription).map(|own| own.lives);
            for waiting in &mut held.fleet {
                waiting.passed.get_or_insert(lives != Some(waiting.lives));
            }
            for waiting in &mut held.own {
                waiting.passed.get_or_insert(self.last);
            }
            while let Some(waiting) = held.next() {
                self.released(&waiting);
                batch.backlog.push(waiting.message);
            }
        }
    }

    fn released<Passed>(&mut self, waiting: &Waiting<Passed>) {
        if let Some(later) = self.gap.as_mut().filter(|later| waiting.number <= later.until) {
            later.held -= 1;
        }
        self.messages -= 1;
        self.bytes -= waiting.message.size();
        if self.messages == 0 {
            self.since = None;
        }
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.fleet.is_empty() && self.own.is_empty()
    }

    /// Takes the first event, if its order is known.
    fn next(&mut self) -> Option<Waiting<()>> {
        let is_own = match (self.fleet.front(), self.own.front()) {
            (None, None) => return None,
            (Some(fleet), None) => {
                fleet.passed?;
                false
            }
            (None, Some(own)) => {
                own.passed?;
                true
            }
            (Some(fleet), Some(own)) => match (fleet.passed, own.passed) {
                (Some(has_left), _) => own.lives < fleet.lives || has_left && own.lives == fleet.lives,
                // What came later than the passage does not precede it.
                (None, Some(last)) if own.lives < fleet.lives || fleet.number > last => true,
                (None, _) => return None,
            },
        };
        if is_own {
            self.own.pop_front().map(Waiting::over)
        } else {
            self.fleet.pop_front().map(Waiting::over)
        }
    }
}

impl<Passed> Waiting<Passed> {
    fn new(message: Message, number: u64, lives: u64) -> Self {
        Self {
            message,
            number,
            lives,
            passed: None,
        }
    }

    fn over(self) -> Waiting<()> {
        let Self {
            message,
            number,
            lives,
            ..
        } = self;
        Waiting {
            message,
            number,
            lives,
            passed: Some(()),
        }
    }

    /// Whether it waits for a passage that was begun for all events up to this number.
    fn is_due(&self, until: u64) -> bool {
        self.passed.is_none() && self.number <= until
    }
}

/// The subscription that has an own channel.
fn subscription_of(own: &Topic) -> Bytes {
    own.name.slice(OWN_PREFIX.len().min(own.name.len())..)
}
