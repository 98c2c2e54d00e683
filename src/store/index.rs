//! The hash table from a key to the slot of its entry.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::slab::{Slab, SlotId};

const SHARDS: usize = 256;

/// In shards: a table of a million keys that grows at once blocks the event loop for tens of milliseconds, a shard for a few
/// hundred microseconds. So it can hold slots alone, and hash the keys again when a shard grows.
pub struct Index {
    shards: Vec<HashTable<SlotId>>,
    hasher: RandomState,
}

pub trait Keyed {
    fn key(&self) -> &[u8];
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Index {
    pub fn find<T: Keyed>(&self, key: &[u8], entries: &Slab<T>) -> Option<SlotId> {
        let hash = self.hasher.hash_one(key);
        let same = |slot: &SlotId| entries.get(*slot).is_some_and(|entry| entry.key() == key);
        self.shards[shard(hash)].find(hash, same).copied()
    }

    /// Adds a key that is missing. Its entry must be in place.
    pub fn insert<T: Keyed>(&mut self, key: &[u8], slot: SlotId, entries: &Slab<T>) {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(key);
        let rehash = |slot: &SlotId| entries.get(*slot).map_or(0, |entry| hasher.hash_one(entry.key()));
        self.shards[shard(hash)].insert_unique(hash, slot, rehash);
    }

    pub fn remove(&mut self, key: &[u8], slot: SlotId) {
        /// An empty shard of this capacity keeps its memory: in steady use it must not be allocated again and again.
        const SMALL: usize = 64;
        let hash = self.hasher.hash_one(key);
        let shard = &mut self.shards[shard(hash)];
        if let Ok(place) = shard.find_entry(hash, |other| *other == slot) {
            place.remove();
        }
        if shard.is_empty() && shard.capacity() > SMALL {
            *shard = HashTable::new();
        }
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Frees some shards of an index that is out of use.
    pub fn shed(&mut self) {
        const AT_ONCE: usize = 16;
        self.shards.truncate(self.shards.len().saturating_sub(AT_ONCE));
    }
}

/// From bits in the middle of the hash: hashbrown takes the bucket from the lowest bits and the tag from the highest.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}
