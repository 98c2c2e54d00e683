//! The order in which keys expire.

use std::collections::BTreeSet;

use super::slab::SlotId;

/// Exactly one element for each key that has a deadline: a session that is refreshed a million times takes one place, which a
/// heap with stale entries would not give. Deadlines are in milliseconds since the epoch.
#[derive(Default)]
pub struct Expiry {
    deadlines: BTreeSet<(u64, SlotId)>,
}

impl Expiry {
    pub fn add(&mut self, deadline: u64, slot: SlotId) {
        self.deadlines.insert((deadline, slot));
    }

    pub fn remove(&mut self, deadline: u64, slot: SlotId) {
        self.deadlines.remove(&(deadline, slot));
    }

    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Drops some of it.
    pub fn shed(&mut self) {
        const AT_ONCE: usize = 1024;
        for _ in 0..AT_ONCE {
            self.deadlines.pop_last();
        }
    }

    /// The slot that is due first, if one is due at `now`.
    pub fn due(&self, now: u64) -> Option<SlotId> {
        self.deadlines
            .first()
            .filter(|(deadline, _)| *deadline <= now)
            .map(|&(_, slot)| slot)
    }
}
