//! In a cluster the events of a subscription come by two connections: that of its own channel, and that of the fleet's. A publisher that
//! changes from one to the other must not be heard in another order. It marks what it publishes first on the other way, and that waits
//! for the passage of all that the home of the way before had sent.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use super::channel::{AGGREGATE, EVENTS, OWN_PREFIX};
use super::message;
use crate::backlog::{MAX_BYTES, MAX_ITEMS, Measured, Message};
use crate::redis::completions::{CompletionBatch, Gap};

/// What a marked event ends with, which means nothing in JSON: `MARKS` of marks.ts. One mark for each change of ways, in turn.
const MARKS: [u8; 3] = *b" \t\n";

/// How an event comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the fleet's channel.
    Fleet,
    /// By the own channel of its subscription.
    Own,
}

#[derive(Default)]
pub struct Ways(Mutex<WaysState>);

#[derive(Default)]
pub struct WaysState {
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

/// What is held of one subscription, as it came by each way.
#[derive(Default)]
struct Held {
    fleet: VecDeque<Waiting>,
    own: VecDeque<Waiting>,
}

struct Waiting {
    message: Message,
    number: u64,
    mark: Option<usize>,
    /// It waits for no passage.
    has_passed: bool,
}

/// The passages that events wait for.
#[derive(Default)]
pub struct Passages {
    /// The number of the last of these events.
    pub until: u64,
    /// Subscriptions that wait for the home of their own channel.
    pub own: HashSet<Bytes>,
    /// Subscriptions that wait for the home of the fleet's channel.
    pub fleet: HashSet<Bytes>,
}

impl Ways {
    /// Held while messages are given: what is released meanwhile keeps its place.
    pub fn lock(&self) -> MutexGuard<'_, WaysState> {
        self.0.lock()
    }
}

impl WaysState {
    /// A subscription has ended: drops what is held of it.
    pub fn leave(&mut self, subscription: &[u8], batch: &mut CompletionBatch) {
        if let Some(Held { fleet, own }) = self.held.remove(subscription) {
            fleet
                .iter()
                .chain(&own)
                .for_each(|waiting| self.released(waiting));
        }
        self.tell_gap(batch);
    }

    /// Leaves in a batch the wanted messages that need not wait, without a gap behind others, and tells what those wait for.
    pub fn hold(
        &mut self,
        batch: &mut CompletionBatch,
        wants: impl Fn(&Message) -> bool,
    ) -> Option<Passages> {
        let mut passages = Passages::default();
        let (messages, overflow) = mem::take(&mut batch.backlog).into_parts();
        for message in messages.into_iter().filter(wants) {
            if let Some(message) = self.hold_one(message, &mut passages, batch) {
                pass_on(message, batch);
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
        passages: &mut Passages,
        batch: &mut CompletionBatch,
    ) -> Option<Message> {
        let mark = mark_of(&message.payload);
        if mark.is_none() && self.held.is_empty() {
            return Some(message);
        }
        let (way, subscription) = if message.channel == EVENTS {
            let subscription = message::plain_subscription(&message.payload);
            (Way::Fleet, subscription.map(str::as_bytes))
        } else {
            (Way::Own, message.channel.strip_prefix(OWN_PREFIX))
        };
        let Some(subscription) = subscription else {
            return Some(message);
        };
        let held = self.held.get_mut(subscription);
        let is_behind = held.is_some_and(|held| !held.by(way).is_empty());
        if mark.is_none() && !is_behind {
            return Some(message);
        }
        let subscription = Bytes::copy_from_slice(subscription);
        if mark.is_some() {
            let waits_for = match way {
                Way::Fleet => &mut passages.own,
                Way::Own => &mut passages.fleet,
            };
            waits_for.insert(subscription.clone());
        }
        let message = message.copied();
        if self.messages >= MAX_ITEMS || self.bytes + message.size() > MAX_BYTES {
            self.give_all(batch);
        }
        self.since.get_or_insert_with(SystemTime::now);
        self.messages += 1;
        self.bytes += message.size();
        self.last += 1;
        let held = self.held.entry(subscription).or_default();
        held.by(way).push_back(Waiting {
            message,
            number: self.last,
            mark,
            has_passed: mark.is_none(),
        });
        None
    }

    /// The passage of a way's home is over: gives what came by the other way and waits no more.
    pub fn has_passed(&mut self, way: Way, subscriptions: &[Bytes], until: u64, batch: &mut CompletionBatch) {
        let other = match way {
            Way::Fleet => Way::Own,
            Way::Own => Way::Fleet,
        };
        for subscription in subscriptions {
            if let Some(held) = self.held.get_mut(subscription) {
                held.by(other)
                    .iter_mut()
                    .take_while(|waiting| waiting.number <= until)
                    .for_each(|waiting| waiting.has_passed = true);
                self.give(subscription, batch);
            }
        }
    }

    /// Gives what is held of a subscription, as far as its order is known.
    fn give(&mut self, subscription: &Bytes, batch: &mut CompletionBatch) {
        while let Some(waiting) = self.held.get_mut(subscription).and_then(Held::next) {
            self.released(&waiting);
            pass_on(waiting.message, batch);
        }
        if self.held.get(subscription).is_some_and(Held::is_empty) {
            self.held.remove(subscription);
        }
        self.tell_gap(batch);
    }

    /// Gives all that is held: there is no room for more, which is told as a gap.
    fn give_all(&mut self, batch: &mut CompletionBatch) {
        let since = self.since;
        for (_, mut held) in mem::take(&mut self.held) {
            let all = held.fleet.iter_mut().chain(&mut held.own);
            all.for_each(|waiting| waiting.has_passed = true);
            while let Some(waiting) = held.next() {
                self.released(&waiting);
                pass_on(waiting.message, batch);
            }
        }
        self.tell_gap(batch);
        if let Some(since) = since {
            batch.backlog.overflow(since);
        }
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

    fn released(&mut self, waiting: &Waiting) {
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
    fn by(&mut self, way: Way) -> &mut VecDeque<Waiting> {
        match way {
            Way::Fleet => &mut self.fleet,
            Way::Own => &mut self.own,
        }
    }

    fn is_empty(&self) -> bool {
        self.fleet.is_empty() && self.own.is_empty()
    }

    /// Takes the first event, if its order is known.
    fn next(&mut self) -> Option<Waiting> {
        let (fleet, own) = (self.fleet.front(), self.own.front());
        let is_fleet = match (fleet, own) {
            (Some(fleet), Some(own)) => first_is_fleet(fleet, own)?,
            (Some(fleet), None) => fleet.has_passed.then_some(true)?,
            (None, Some(own)) => own.has_passed.then_some(false)?,
            (None, None) => return None,
        };
        if is_fleet {
            self.fleet.pop_front()
        } else {
            self.own.pop_front()
        }
    }
}

/// Whether the event by the fleet's channel comes before that by the own one. None if that is not known yet.
fn first_is_fleet(fleet: &Waiting, own: &Waiting) -> Option<bool> {
    let (Some(fleet_mark), Some(own_mark)) = (fleet.mark, own.mark) else {
        // An event without a mark follows one by the same way, and waits for none by the other.
        return Some(fleet.mark.is_none());
    };
    match (own_mark + MARKS.len() - fleet_mark) % MARKS.len() {
        1 => fleet.has_passed.then_some(true),
        2 => own.has_passed.then_some(false),
        // Of two publishers.
        _ => (fleet.has_passed && own.has_passed).then_some(fleet.number < own.number),
    }
}

/// Only an event in the form of the framework has one: another message may end with anything.
fn mark_of(payload: &[u8]) -> Option<usize> {
    let (last, event) = payload.split_last()?;
    let mark = MARKS.iter().position(|mark| mark == last)?;
    let is_event = event.ends_with(b"}") && message::plain_subscription(event).is_some();
    is_event.then_some(mark)
}

/// Puts a message into a batch as if all events came by the fleet's channel.
fn pass_on(mut message: Message, batch: &mut CompletionBatch) {
    if message.channel != AGGREGATE {
        message.channel = Bytes::from_static(EVENTS.as_bytes());
        if mark_of(&message.payload).is_some() {
            message.payload.truncate(message.payload.len() - 1);
        }
    }
    batch.backlog.push(message);
}
