//! In a cluster a subscription's own channel and that of the fleet come by different connections. A publisher that has changed from the
//! fleet's to the own one must not be heard in another order: so what comes by an own channel that is new is held until all that was
//! published on the fleet's before has come.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::backlog::{Backlog, Message, Rest};
use crate::redis::completions::CompletionBatch;
use crate::redis::config::Limits;

/// For how long publishers take an own channel to have no subscriber, once they have found none: `REMEMBERED_MS` of redis-publisher.ts.
const REMEMBERED: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Behind(Mutex<State>);

#[derive(Default)]
pub struct State {
    /// Own channels that are new, and until when.
    new: HashMap<Bytes, Instant, RandomState>,
    /// What is held until the passage that is under way is over, and what came after its beginning.
    covered: Backlog,
    later: Backlog,
    is_under_way: bool,
}

impl Behind {
    /// An own channel is live. A publisher that has found no subscriber before may go on with the channel of the fleet for this long.
    pub fn is_live(&self, channel: &Bytes, limits: &Limits) {
        let until = Instant::now() + REMEMBERED + limits.queue_timeout + limits.timeout;
        self.0.lock().new.insert(channel.clone(), until);
    }

    /// An own channel is left: what is held of it is dropped.
    pub fn is_left(&self, channel: &Bytes) {
        let mut state = self.0.lock();
        state.new.remove(channel);
        let State { covered, later, .. } = &mut *state;
        for held in [covered, later] {
            held.forget(|message| message.channel == channel);
        }
    }

    /// Held while messages are given: what is released meanwhile keeps its place.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    /// Takes the messages that have to wait out of a batch. True if a passage is to be begun for them.
    pub fn hold(&mut self, batch: &mut CompletionBatch, now: Instant) -> bool {
        if batch.gap.is_some() {
            // It is told behind all that came before.
            let mut all = CompletionBatch::default();
            self.release(&mut all);
            self.covered = mem::take(&mut self.later);
            self.release(&mut all);
            all.backlog.append(mem::take(&mut batch.backlog));
            batch.backlog = all.backlog;
            return false;
        }
        if self.new.is_empty() {
            return false;
        }
        let (messages, overflow) = mem::take(&mut batch.backlog).into_parts();
        for message in messages {
            if self.waits(&message, now) {
                self.later.push(message.copied());
            } else {
                batch.backlog.push(message);
            }
        }
        if let Some(since) = overflow {
            batch.backlog.overflow(since);
        }
        let begins = !self.is_under_way && !self.later.is_empty();
        self.is_under_way |= begins;
        begins
    }

    /// Nothing overtakes what is held of the same channel.
    fn waits(&mut self, message: &Message, now: Instant) -> bool {
        let Some(until) = self.new.get(&message.channel) else {
            return false;
        };
        let is_it = |held: &Message| held.channel == message.channel;
        let waits = now < *until || self.covered.holds(is_it) || self.later.holds(is_it);
        if !waits {
            self.new.remove(&message.channel);
        }
        waits
    }

    /// A passage begins. False if nothing waits for it.
    pub fn begin(&mut self) -> bool {
        self.covered = mem::take(&mut self.later);
        self.is_under_way = !self.covered.is_empty();
        self.is_under_way
    }

    /// Puts what was held until the end of the passage into a batch.
    pub fn release(&mut self, batch: &mut CompletionBatch) {
        let (messages, rest) = self.covered.take(usize::MAX);
        for message in messages {
            batch.backlog.push(message);
        }
        if let Rest::Overflow(since) = rest {
            batch.backlog.overflow(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::redis::completions::Gap;

    const OWN: &str = "covara:events:1:posts";
    const OTHER: &str = "covara:events:2:posts";
    const FLEET: &str = "covara:events";

    fn came(messages: &[(&'static str, &'static str)]) -> CompletionBatch {
        let mut batch = CompletionBatch::default();
        for (channel, payload) in messages {
            batch.backlog.push(Message {
                pattern: None,
                channel: Bytes::from_static(channel.as_bytes()),
                payload: Bytes::from_static(payload.as_bytes()),
            });
        }
        batch
    }

    fn payloads(batch: CompletionBatch) -> Vec<String> {
        let (messages, _) = batch.backlog.into_parts();
        let payloads = messages.iter().map(|message| message.payload.to_vec());
        payloads.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    fn released(state: &mut State) -> Vec<String> {
        let mut batch = CompletionBatch::default();
        state.release(&mut batch);
        payloads(batch)
    }

    fn live(channel: &'static str) -> Behind {
        let behind = Behind::default();
        let limits = Limits {
            timeout: Duration::from_secs(5),
            queue_timeout: Duration::from_secs(10),
            max_queue: 3,
            max_retries: None,
            max_reply: 1 << 20,
        };
        behind.is_live(&Bytes::from_static(channel.as_bytes()), &limits);
        behind
    }

    #[test]
    fn what_comes_by_a_new_channel_waits_for_a_passage_that_began_later() {
        let behind = live(OWN);
        let mut state = behind.lock();
        let now = Instant::now();
        let mut batch = came(&[(OWN, "1"), (FLEET, "2"), (OTHER, "3")]);
        assert!(state.hold(&mut batch, now));
        assert_eq!(payloads(batch), ["2", "3"]);
        assert!(state.begin());
        let mut batch = came(&[(OWN, "4")]);
        assert!(!state.hold(&mut batch, now), "one passage is under way");
        assert!(batch.backlog.is_empty());
        assert_eq!(released(&mut state), ["1"]);
        assert!(state.begin());
        assert_eq!(released(&mut state), ["4"]);
        assert!(!state.begin());
    }

    #[test]
    fn a_channel_that_is_new_no_more_waits_only_for_its_own_messages() {
        let behind = live(OWN);
        let mut state = behind.lock();
        let late = Instant::now() + Duration::from_secs(17);
        state.hold(&mut came(&[(OWN, "1")]), Instant::now());
        let mut batch = came(&[(OWN, "2")]);
        state.hold(&mut batch, late);
        assert!(batch.backlog.is_empty(), "it would overtake the first");
        assert!(state.begin());
        assert_eq!(released(&mut state), ["1", "2"]);
        let mut batch = came(&[(OWN, "3")]);
        assert!(!state.hold(&mut batch, late));
        assert_eq!(payloads(batch), ["3"]);
    }

    // Who reads its state again after a gap must be behind none of the messages.
    #[test]
    fn a_gap_comes_behind_all_that_is_held() {
        let behind = live(OWN);
        let mut state = behind.lock();
        let now = Instant::now();
        state.hold(&mut came(&[(OWN, "1")]), now);
        state.begin();
        state.hold(&mut came(&[(OWN, "2")]), now);
        let mut batch = came(&[(OWN, "3")]);
        let time = SystemTime::now();
        batch.push_gap(Gap {
            from: time,
            to: time,
            node: None,
        });
        assert!(!state.hold(&mut batch, now));
        assert_eq!(payloads(batch), ["1", "2", "3"]);
        assert!(released(&mut state).is_empty());
    }

    #[test]
    fn what_is_held_of_a_channel_that_is_left_is_dropped() {
        let behind = live(OWN);
        behind.lock().hold(&mut came(&[(OWN, "1")]), Instant::now());
        behind.is_left(&Bytes::from_static(OWN.as_bytes()));
        assert!(!behind.lock().begin());
    }
}
