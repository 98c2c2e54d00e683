//! The order in which keys expire.

use std::collections::BTreeSet;

use super::slab::SlotId;

/// At most one element for each slot: a session that is refreshed a million times takes one place. A heap with stale entries
/// would grow.
///
/// A later deadline, as a session gets with each request, does not move the element. The sweeper finds it, reads the deadline,
/// and postpones it.
#[derive(Default)]
pub struct Expiry {
    looks: BTreeSet<(Second, SlotId)>,
    /// The second of each slot's element.
    seconds: Vec<Second>,
}

/// A count of 1,024 ms since the epoch. It ends in 2109: all later times are the last one.
type Second = u32;

/// The first second that begins after a deadline.
fn past(deadline: u64) -> Second {
    Second::try_from((deadline >> 10) + 1).unwrap_or(Second::MAX)
}

/// The second of a slot without an element.
const NONE: Second = 0;

impl Expiry {
    /// Sets the deadline of a slot, in milliseconds since the epoch.
    pub fn schedule(&mut self, slot: SlotId, deadline: Option<u64>) {
        let second = deadline.map_or(NONE, past);
        let before = self.second(slot);
        if before == second || (before != NONE && second > before) {
            return;
        }
        self.postpone(slot, second);
    }

    /// Moves the element of a slot to its deadline.
    pub fn postpone_to(&mut self, slot: SlotId, deadline: u64) {
        self.postpone(slot, past(deadline));
    }

    fn postpone(&mut self, slot: SlotId, second: Second) {
        let before = self.second(slot);
        if before != NONE {
            self.looks.remove(&(before, slot));
        }
        if second != NONE {
            self.looks.insert((second, slot));
        }
        if self.seconds.len() <= slot as usize {
            self.seconds.resize(slot as usize + 1, NONE);
        }
        self.seconds[slot as usize] = second;
    }

    fn second(&self, slot: SlotId) -> Second {
        self.seconds.get(slot as usize).copied().unwrap_or(NONE)
    }

    pub fn len(&self) -> usize {
        self.looks.len()
    }

    /// Frees some elements of an index that is out of use.
    pub fn shed(&mut self) {
        const AT_ONCE: usize = 1024;
        for _ in 0..AT_ONCE {
            self.looks.pop_last();
        }
    }

    /// The slots of the current second: they alone may be due at `now` although `due` does not return them yet.
    pub fn soon(&self, now: u64) -> Vec<SlotId> {
        let second = past(now);
        let soon = self.looks.range((second, SlotId::MIN)..=(second, SlotId::MAX));
        soon.map(|&(_, slot)| slot).collect()
    }

    /// The first slot whose second is over at `now`. Its deadline may be later. The last second, which has all later deadlines, is never over.
    #[inline]
    pub fn due(&self, now: u64) -> Option<SlotId> {
        let &(second, slot) = self.looks.first()?;
        (second < Second::MAX && u64::from(second) <= now >> 10).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The slots that a sweeper removes at `now`.
    fn sweep(expiry: &mut Expiry, deadlines: &mut BTreeMap<SlotId, u64>, now: u64) -> Vec<SlotId> {
        let mut removed = Vec::new();
        while let Some(slot) = expiry.due(now) {
            match deadlines.get(&slot).copied() {
                Some(deadline) if deadline > now => expiry.postpone_to(slot, deadline),
                _ => {
                    deadlines.remove(&slot);
                    expiry.schedule(slot, None);
                    removed.push(slot);
                }
            }
        }
        removed
    }

    proptest! {
        #[test]
        fn a_slot_comes_up_within_a_second_of_its_last_deadline_and_not_before(
            steps in prop::collection::vec((0..8u32, prop::option::of(0..20_000u64), 0..2_000u64), 1..200),
        ) {
            let (mut expiry, mut deadlines, mut now) = (Expiry::default(), BTreeMap::new(), 0);
            for (slot, after, passing) in steps {
                match after {
                    Some(after) => drop(deadlines.insert(slot, now + after)),
                    None => drop(deadlines.remove(&slot)),
                }
                expiry.schedule(slot, deadlines.get(&slot).copied());
                prop_assert!(expiry.len() <= 8);
                now += passing;
                let before = deadlines.clone();
                for slot in sweep(&mut expiry, &mut deadlines, now) {
                    prop_assert!(before[&slot] <= now, "a key was removed before its deadline");
                }
                prop_assert!(deadlines.values().all(|deadline| deadline + 1_024 > now));
                let soon = expiry.soon(now);
                let due = deadlines.iter().filter(|(_, deadline)| **deadline <= now);
                prop_assert!(due.map(|(slot, _)| slot).all(|slot| soon.contains(slot)));
            }
        }
    }

    #[test]
    fn deadlines_past_what_a_second_can_hold_come_last() {
        let mut expiry = Expiry::default();
        expiry.schedule(1, Some(u64::MAX));
        expiry.schedule(2, Some(5_000));
        assert_eq!(expiry.due(10_000), Some(2));
        expiry.schedule(2, None);
        assert_eq!(expiry.due(10_000), None);
        // Nor in the year 9999, by a test's clock: a sweep would look at it again and again.
        assert_eq!(expiry.due(253_402_300_799_000), None);
    }
}
