//! All keys of one store, with their values and deadlines.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::contents::{Contents, Entry};
use super::expiry::Expiry;
use super::index::Index;
use super::remains::{self, Shed};
use super::slab::{Slab, SlotId};
use super::text::Text;
use super::value::{DataType, Value};
use crate::error::{Error, Result};

/// What a command does with a key of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Fails with WRONGTYPE, as in Redis.
    Strict,
    /// Reads the key as empty, and replaces it on a write.
    Lenient,
}

pub struct Keyspace {
    entries: Slab<Entry>,
    index: Index,
    expiry: Expiry,
    policy: Policy,
    /// The command that runs, for the warning about a key of another type.
    pub command: &'static str,
    /// Commands that have met a key of another type under the lenient policy. Each gets one warning.
    mismatched: HashSet<&'static str>,
    /// Those of them whose warning is due.
    untold: Vec<&'static str>,
    clock: Clock,
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
            clock: Clock::default(),
        }
    }

    /// Begins a turn, in which time stands still. Called when the store was locked.
    pub fn begin_turn(&mut self) {
        self.clock.begin_turn();
    }

    /// Sets a test's clock, in milliseconds since the epoch, or the system's. Keys that are due by it are removed at once: a
    /// test that advances its clock does not wait for the sweeper.
    pub fn set_clock(&mut self, faked: Option<u64>) {
        if !self.clock.set(faked) {
            return;
        }
        if let Some(now) = faked {
            self.sweep(Duration::MAX);
            for slot in self.expiry.soon(now) {
                if self.entries.get(slot).is_some_and(|entry| entry.is_due(now)) {
                    self.remove_slot(slot);
                }
            }
        }
    }

    /// The time of this turn, in milliseconds since the epoch.
    #[inline]
    pub fn now(&mut self) -> u64 {
        self.clock.now()
    }

    /// The reply to TIME: microseconds since the epoch, different in each turn.
    pub fn precise_now(&mut self) -> u64 {
        self.clock.unique_micros()
    }

    /// Takes the commands whose warning about a key of another type is due.
    #[inline]
    pub fn take_mismatches(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.untold)
    }

    /// The number of keys. Expired ones count until they are swept.
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub fn value(&mut self, key: &[u8]) -> Option<&Value> {
        let slot = self.find(key)?;
        self.entries.get(slot).map(|entry| &entry.value)
    }

    /// The values of keys, not copied. A key may be given many times.
    pub fn values(&mut self, keys: &[&[u8]]) -> Vec<Option<&Value>> {
        let slots: Vec<_> = keys.iter().map(|key| self.find(key)).collect();
        let value = |slot| self.entries.get(slot).map(|entry| &entry.value);
        slots.into_iter().map(|slot| value(slot?)).collect()
    }

    /// The value of a key, if it exists and has this type.
    #[inline]
    pub fn read<T: DataType>(&mut self, key: &[u8]) -> Result<Option<&T>> {
        let Some(slot) = self.find(key) else {
            return Ok(None);
        };
        if self.is::<T>(slot) {
            return Ok(self.entries.get(slot).and_then(|entry| T::read(&entry.value)));
        }
        self.mismatch()?;
        Ok(None)
    }

    /// Changes the value of a key, if it exists and has this type. A collection that becomes empty is removed.
    #[inline]
    pub fn edit<T: DataType, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>> {
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

    /// The value of a key, created where it is missing. The caller must add a member: an empty collection must not stay.
    #[inline]
    pub fn entry<T: DataType>(&mut self, key: &[u8]) -> Result<&mut T> {
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

    /// Applies the policy to a key of another type, for commands that read before they write.
    pub fn check<T: DataType>(&mut self, key: &[u8]) -> Result<()> {
        self.read::<T>(key).map(|_| ())
    }

    /// Sets the value and the deadline of a key. `deadline` is in milliseconds since the epoch.
    #[inline]
    pub fn set(&mut self, key: &[u8], value: Value, deadline: Option<u64>) {
        match self.find(key) {
            Some(slot) => self.replace_slot(slot, value, deadline),
            None => {
                self.insert(key, value, deadline);
            }
        }
    }

    /// The same for a string, in the memory of the old string where the length is equal.
    #[inline]
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

    /// Sets the text of a string as `set_string` does, and keeps its deadline.
    pub fn overwrite(&mut self, key: &[u8], text: &[u8]) -> Result<()> {
        let string = self.entry::<Text>(key)?;
        if string.len() == text.len() {
            string.copy_from_slice(text);
        } else {
            *string = text.into();
        }
        Ok(())
    }

    /// Removes a key. False if it does not exist.
    #[inline]
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let slot = self.find(key);
        slot.is_some_and(|slot| self.remove_slot(slot))
    }

    /// Removes a key and returns its value.
    #[inline]
    pub fn take(&mut self, key: &[u8]) -> Option<Value> {
        let slot = self.find(key)?;
        self.take_slot(slot)
    }

    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The deadline of a key, if it exists: `Some(None)` for one that never expires.
    #[inline]
    pub fn deadline(&mut self, key: &[u8]) -> Option<Option<u64>> {
        let slot = self.find(key)?;
        self.entries
            .get(slot)
            .map(|entry| entry.deadline.map(NonZeroU64::get))
    }

    /// Sets or removes the deadline of a key. A deadline in the past removes the key. False if the key does not exist.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) -> bool {
        let Some(slot) = self.find(key) else { return false };
        if deadline.is_some_and(|deadline| deadline <= self.now()) {
            self.remove_slot(slot);
        } else {
            self.schedule(slot, deadline);
        }
        true
    }

    /// The live keys for which `keep` is true.
    pub fn keys(&mut self, keep: impl Fn(&[u8]) -> bool) -> Vec<&[u8]> {
        let now = self.now();
        let live = self.entries.iter_from(0).filter(|(_, entry)| !entry.is_due(now));
        live.map(|(_, entry)| &*entry.key)
            .filter(|key| keep(key))
            .collect()
    }

    /// One page of SCAN: the next cursor (0 at the end), and the keys and values of about `count` slots.
    ///
    /// The cursor is a slot number, and entries do not move: a key that stays from start to end is seen once.
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

    /// Removes expired keys until `budget` is used up. True if more are due.
    pub fn sweep(&mut self, budget: Duration) -> bool {
        // To read the clock costs as much as to remove a small key.
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

    /// The slot of a key. An expired key is removed here.
    #[inline]
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

    #[inline]
    fn remove_slot(&mut self, slot: SlotId) -> bool {
        self.take_slot(slot).map(remains::discard).is_some()
    }

    #[inline]
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

    fn is<T: DataType>(&self, slot: SlotId) -> bool {
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
        // Freed at once: few keys may hold long texts, and the sweeper would free these too late.
        while contents.shed() > 0 {}
    }
}

#[cfg(test)]
mod tests;
