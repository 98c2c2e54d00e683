//! All keys of one store, with their values and deadlines.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::expiry::Expiry;
use super::index::{Index, Keyed};
use super::key::Key;
use super::remains::{self, Shed};
use super::slab::{Slab, SlotId};
use super::text::Text;
use super::value::{Kind, Value};
use crate::error::{Error, Result};

/// What happens to a command that meets a key of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is refused, as by Redis.
    Strict,
    /// It reads the key as empty, and replaces it when it writes.
    Lenient,
}

struct Entry {
    key: Key,
    value: Value,
    /// Milliseconds since the epoch.
    deadline: Option<NonZeroU64>,
}

pub struct Keyspace {
    entries: Slab<Entry>,
    index: Index,
    expiry: Expiry,
    policy: Policy,
    /// The name of the command that runs, for the warning about a key of another type.
    pub command: &'static str,
    /// The commands that have met a key of another type under the lenient policy: each is told of once.
    mismatched: HashSet<&'static str>,
    untold: Vec<&'static str>,
    /// What the clock showed that a test has put in place of the system's, in milliseconds since the epoch.
    faked: Option<u64>,
    /// The time of this turn once it was asked for: a MULTI or a script sees time stand still, as in Redis.
    now: Option<u64>,
    /// The same in microseconds, for TIME.
    precise: Option<u64>,
    /// What TIME has told last.
    told: u64,
}

impl Keyspace {
    pub fn new(policy: Policy) -> Self {
        Self {
            entries: Slab::new(),
            index: Index::default(),
            expiry: Expiry::default(),
            policy,
            command: "",
            mismatched: HashSet::new(),
            untold: Vec::new(),
            faked: None,
            now: None,
            precise: None,
            told: 0,
        }
    }

    /// Lets time go on. Called whenever the store has been locked.
    pub fn begin_turn(&mut self) {
        self.now = None;
        self.precise = None;
    }

    /// Puts a clock in place of the system's that shows this many milliseconds since the epoch, or puts the system's back. What has
    /// expired by it is gone at once: a test that advances its clock does not wait for the sweeper.
    pub fn set_clock(&mut self, faked: Option<u64>) {
        if self.faked == faked {
            return;
        }
        self.faked = faked;
        if let Some(now) = faked {
            self.sweep(Duration::MAX);
            for slot in self.expiry.soon(now) {
                if self.entries.get(slot).is_some_and(|entry| entry.is_due(now)) {
                    self.remove_slot(slot);
                }
            }
        }
    }

    /// Milliseconds since the epoch.
    pub fn now(&mut self) -> u64 {
        let clock = || self.faked.unwrap_or_else(|| since_epoch().as_millis() as u64);
        *self.now.get_or_insert_with(clock)
    }

    /// Microseconds since the epoch, in each turn others than before: scripts make members of sets of them.
    pub fn precise_now(&mut self) -> u64 {
        if let Some(precise) = self.precise {
            return precise;
        }
        let clock = self.faked.map(|faked| faked.saturating_mul(1000));
        let clock = clock.unwrap_or_else(|| since_epoch().as_micros() as u64);
        // A clock that was set back, to long ago perhaps, is followed.
        let is_just_before = clock <= self.told && self.told - clock < 10_000;
        self.told = if is_just_before { self.told + 1 } else { clock };
        self.precise = Some(self.told);
        self.told
    }

    /// The commands that have met a key of another type for the first time under the lenient policy.
    pub fn take_mismatches(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.untold)
    }

    /// The keys, those included that have expired and were not yet swept.
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    pub fn value(&mut self, key: &[u8]) -> Option<&Value> {
        let slot = self.find(key)?;
        self.entries.get(slot).map(|entry| &entry.value)
    }

    /// The values of keys, of which one may come many times: none of them is copied.
    pub fn values(&mut self, keys: &[&[u8]]) -> Vec<Option<&Value>> {
        let slots: Vec<_> = keys.iter().map(|key| self.find(key)).collect();
        let value = |slot| self.entries.get(slot).map(|entry| &entry.value);
        slots.into_iter().map(|slot| value(slot?)).collect()
    }

    /// The value of a key, if it is there and of this type.
    pub fn read<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>> {
        let Some(slot) = self.find(key) else {
            return Ok(None);
        };
        if self.is::<T>(slot) {
            return Ok(self.entries.get(slot).and_then(|entry| T::read(&entry.value)));
        }
        self.mismatch()?;
        Ok(None)
    }

    /// Changes the value of a key if it is there and of this type. A collection that is empty afterwards is removed.
    pub fn edit<T: Kind, R>(&mut self, key: &[u8], change: impl FnOnce(&mut T) -> R) -> Result<Option<R>> {
        let Some(slot) = self.find(key) else {
            return Ok(None);
        };
        let Some(value) = self
            .entries
            .get_mut(slot)
            .and_then(|entry| T::write(&mut entry.value))
        else {
            self.mismatch()?;
            return Ok(None);
        };
        let result = change(value);
        if value.vanishes() {
            self.remove_slot(slot);
        }
        Ok(Some(result))
    }

    /// The value of a key, made where there was none. The caller puts a member into it: an empty collection must not stay.
    pub fn entry<T: Kind>(&mut self, key: &[u8]) -> Result<&mut T> {
        let slot = match self.find(key) {
            Some(slot) if self.is::<T>(slot) => slot,
            Some(slot) => {
                self.mismatch()?;
                self.replace_slot(slot, T::empty(), None);
                slot
            }
            None => self.insert(key, T::empty(), None),
        };
        let entry = self
            .entries
            .get_mut(slot)
            .expect("a slot that was just found is in use");
        Ok(T::write(&mut entry.value).expect("the type was just checked or made"))
    }

    /// Refuses, or notes, a key of another type, for commands that look before they write.
    pub fn check<T: Kind>(&mut self, key: &[u8]) -> Result<()> {
        self.read::<T>(key).map(|_| ())
    }

    /// Puts a value in place of what is there. `deadline` is in milliseconds since the epoch.
    pub fn set(&mut self, key: &[u8], value: Value, deadline: Option<u64>) {
        match self.find(key) {
            Some(slot) => self.replace_slot(slot, value, deadline),
            None => {
                self.insert(key, value, deadline);
            }
        }
    }

    /// Puts a text in place of what is there, in the same memory where it fits. `deadline` is in milliseconds since the epoch.
    pub fn set_string(&mut self, key: &[u8], text: &[u8], deadline: Option<u64>) {
        let Some(slot) = self.find(key) else {
            self.insert(key, Value::String(text.into()), deadline);
            return;
        };
        match self.entries.get_mut(slot).map(|entry| &mut entry.value) {
            Some(Value::String(string)) if string.len() == text.len() => string.copy_from_slice(text),
            _ => return self.replace_slot(slot, Value::String(text.into()), deadline),
        }
        self.schedule(slot, deadline);
    }

    /// Puts a new text in place of a string's, in the same memory where it fits, and leaves its deadline.
    pub fn overwrite(&mut self, key: &[u8], text: &[u8]) -> Result<()> {
        let string = self.entry::<Text>(key)?;
        if string.len() == text.len() {
            string.copy_from_slice(text);
        } else {
            *string = text.into();
        }
        Ok(())
    }

    /// False if it was not there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let slot = self.find(key);
        slot.is_some_and(|slot| self.remove_slot(slot))
    }

    /// Removes a key, and gives its value.
    pub fn take(&mut self, key: &[u8]) -> Option<Value> {
        let slot = self.find(key)?;
        self.take_slot(slot)
    }

    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The deadline of a key, if it is there: `Some(None)` for one that never expires.
    pub fn deadline(&mut self, key: &[u8]) -> Option<Option<u64>> {
        let slot = self.find(key)?;
        self.entries
            .get(slot)
            .map(|entry| entry.deadline.map(NonZeroU64::get))
    }

    /// Gives a key a deadline, or takes it away. A deadline that has passed removes the key. False if it is not there.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) -> bool {
        let Some(slot) = self.find(key) else { return false };
        if deadline.is_some_and(|deadline| deadline <= self.now()) {
            self.remove_slot(slot);
        } else {
            self.schedule(slot, deadline);
        }
        true
    }

    /// The keys for which `keep` is true.
    pub fn keys(&mut self, keep: impl Fn(&[u8]) -> bool) -> Vec<&[u8]> {
        let now = self.now();
        let live = self.entries.iter_from(0).filter(|(_, entry)| !entry.is_due(now));
        live.map(|(_, entry)| &*entry.key)
            .filter(|key| keep(key))
            .collect()
    }

    /// One page of SCAN: the next cursor (0 at the end) and the keys and values from about `count` slots on.
    ///
    /// The cursor is a slot number, and entries do not move: what stays from start to end is seen, once.
    pub fn scan(&mut self, cursor: u64, count: u64) -> (u64, Vec<(&[u8], &Value)>) {
        let now = self.now();
        let mut found = Vec::new();
        let mut seen = 0;
        let mut at = SlotId::try_from(cursor).unwrap_or(SlotId::MAX);
        while let Some((start, end)) = self.entries.run_from(at) {
            for slot in start..end {
                if seen == count {
                    return (u64::from(slot), found);
                }
                seen += 1;
                if let Some(entry) = self.entries.get(slot).filter(|entry| !entry.is_due(now)) {
                    found.push((&*entry.key, &entry.value));
                }
            }
            at = end;
        }
        (0, found)
    }

    /// Removes keys that are due until `budget` is used up. True if more are due.
    pub fn sweep(&mut self, budget: Duration) -> bool {
        // Reading the clock costs about as much as removing a small key.
        const BETWEEN_LOOKS: usize = 16;
        self.begin_turn();
        let now = self.now();
        let started = Instant::now();
        let mut looked_at = 0;
        while let Some(slot) = self.expiry.due(now) {
            match self.entries.get(slot).and_then(|entry| entry.deadline) {
                Some(deadline) if deadline.get() > now => self.expiry.postpone_to(slot, deadline.get()),
                _ => drop(self.remove_slot(slot)),
            }
            looked_at += 1;
            if looked_at % BETWEEN_LOOKS == 0 && started.elapsed() >= budget {
                return self.expiry.due(now).is_some();
            }
        }
        false
    }

    fn find(&mut self, key: &[u8]) -> Option<SlotId> {
        let slot = self.index.find(key, &self.entries)?;
        let deadline = self.entries.get(slot).and_then(|entry| entry.deadline);
        if deadline.is_some_and(|deadline| deadline.get() <= self.now()) {
            self.remove_slot(slot);
            return None;
        }
        Some(slot)
    }

    fn insert(&mut self, key: &[u8], value: Value, deadline: Option<u64>) -> SlotId {
        let slot = self.entries.insert(Entry {
            key: key.into(),
            value,
            deadline: None,
        });
        self.index.insert(key, slot, &self.entries);
        self.schedule(slot, deadline);
        slot
    }

    fn replace_slot(&mut self, slot: SlotId, value: Value, deadline: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(slot) {
            remains::discard(std::mem::replace(&mut entry.value, value));
        }
        self.schedule(slot, deadline);
    }

    fn remove_slot(&mut self, slot: SlotId) -> bool {
        self.take_slot(slot).map(remains::discard).is_some()
    }

    fn take_slot(&mut self, slot: SlotId) -> Option<Value> {
        self.schedule(slot, None);
        let entry = self.entries.remove(slot)?;
        self.index.remove(&entry.key, slot);
        Some(entry.value)
    }

    fn schedule(&mut self, slot: SlotId, deadline: Option<u64>) {
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        let deadline = deadline.map(|deadline| NonZeroU64::new(deadline).unwrap_or(NonZeroU64::MIN));
        if entry.deadline == deadline {
            return;
        }
        entry.deadline = deadline;
        self.expiry.schedule(slot, deadline.map(NonZeroU64::get));
    }

    fn is<T: Kind>(&self, slot: SlotId) -> bool {
        self.entries
            .get(slot)
            .is_some_and(|entry| T::read(&entry.value).is_some())
    }

    fn mismatch(&mut self) -> Result<()> {
        if self.policy == Policy::Strict {
            return Err(Error::wrong_type());
        }
        if self.mismatched.insert(self.command) {
            self.untold.push(self.command);
        }
        Ok(())
    }
}

fn since_epoch() -> Duration {
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let mut contents = Contents {
            entries: std::mem::take(&mut self.entries),
            index: std::mem::take(&mut self.index),
            expiry: std::mem::take(&mut self.expiry),
        };
        if contents.entries.len() > remains::LARGE {
            return remains::bury(contents);
        }
        // Few keys may hold long texts, which the sweeper would free too late.
        while contents.shed() > 0 {}
    }
}

/// What a store held that has gone.
struct Contents {
    entries: Slab<Entry>,
    index: Index,
    expiry: Expiry,
}

impl Shed for Contents {
    fn left(&self) -> usize {
        self.entries.len() + self.expiry.len() + self.index.parts()
    }

    fn shed(&mut self) -> usize {
        self.index.shed();
        self.expiry.shed();
        for entry in self.entries.shed() {
            remains::discard(entry.value);
        }
        self.left()
    }
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Entry {
    fn is_due(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline.get() <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::remains::LARGE;
    use crate::store::{Hash, List, Set, SortedSet};

    const KEYS: [&[u8]; 4] = [b"hash", b"set", b"list", b"sorted set"];

    fn filled() -> Keyspace {
        let mut keyspace = Keyspace::new(Policy::Strict);
        for number in 0..1000_u32 {
            let member = number.to_string().into_bytes();
            keyspace.entry::<Hash>(b"hash").unwrap().insert(&member, b"value");
            keyspace.entry::<Set>(b"set").unwrap().insert(&member);
            keyspace.entry::<List>(b"list").unwrap().push_back(&member);
            let sorted_set = keyspace.entry::<SortedSet>(b"sorted set").unwrap();
            sorted_set.insert(&member, f64::from(number));
        }
        keyspace
    }

    fn turns_to_free() -> usize {
        let mut turns = 1;
        while remains::free(Duration::ZERO) {
            turns += 1;
        }
        turns
    }

    /// Once sixteen sorted sets that expired together stopped the event loop for 150 ms, and DEL of one with a million members for 32
    /// to 120 ms.
    #[test]
    fn large_collections_are_freed_in_pieces_whatever_removes_them() {
        type Removal = fn(&mut Keyspace);
        let removals: [(&str, Removal); 5] = [
            ("DEL", |keyspace| {
                for key in KEYS {
                    assert!(keyspace.remove(key));
                }
            }),
            ("SET", |keyspace| {
                for key in KEYS {
                    keyspace.set_string(key, b"text", None);
                }
            }),
            ("expiry, and access", |keyspace| {
                expire(keyspace);
                for key in KEYS {
                    assert!(!keyspace.contains(key));
                }
            }),
            ("expiry, and sweeping", |keyspace| {
                expire(keyspace);
                let later = keyspace.now() + 2_000;
                keyspace.set_clock(Some(later));
                assert_eq!(keyspace.size(), 0);
            }),
            ("the end of the store", |keyspace| {
                *keyspace = Keyspace::new(Policy::Strict)
            }),
        ];
        for (name, remove) in removals {
            let mut keyspace = filled();
            remove(&mut keyspace);
            let turns = turns_to_free();
            assert!(turns > 3 * 1000 / LARGE, "{name}: {turns} turns");
        }
    }

    fn expire(keyspace: &mut Keyspace) {
        let soon = keyspace.now() + 1;
        for key in KEYS {
            assert!(keyspace.set_deadline(key, Some(soon)));
        }
        while keyspace.now() < soon {
            keyspace.begin_turn();
        }
    }

    #[test]
    fn a_store_that_has_gone_is_freed_in_pieces() {
        let mut keyspace = Keyspace::new(Policy::Strict);
        for number in 0..10_000_u32 {
            let deadline = keyspace.now() + 1_000_000;
            keyspace.set(
                &number.to_le_bytes(),
                Value::String(b"text"[..].into()),
                Some(deadline),
            );
        }
        drop(keyspace);
        let turns = turns_to_free();
        assert!(turns >= 10, "{turns} turns");
    }

    /// A loop that never lets the event loop turn must not fill the memory with what it has removed.
    #[test]
    fn what_waits_to_be_freed_is_bounded() {
        struct Large(usize);
        impl Shed for Large {
            fn left(&self) -> usize {
                self.0
            }
            fn shed(&mut self) -> usize {
                self.0 -= 1_000_000;
                self.0
            }
        }
        for _ in 0..20 {
            remains::bury(Large(5_000_000));
        }
        assert!(turns_to_free() <= 8);
    }
}
