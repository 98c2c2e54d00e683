//! What a keyspace holds, apart from its settings.

use std::num::NonZeroU64;

use super::expiry::Expiry;
use super::index::{Index, Keyed};
use super::key::Key;
use super::remains::{self, Shed};
use super::slab::Slab;
use super::value::Value;

pub struct Entry {
    pub key: Key,
    pub value: Value,
    /// Milliseconds since the epoch.
    pub deadline: Option<NonZeroU64>,
}

impl Entry {
    #[inline]
    pub fn is_due(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline.get() <= now)
    }
}

impl Keyed for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        &self.key
    }
}

/// The contents of a store that was closed, freed in pieces.
pub struct Contents {
    pub entries: Slab<Entry>,
    pub index: Index,
    pub expiry: Expiry,
}

impl Shed for Contents {
    fn left(&self) -> usize {
        self.entries.len() + self.expiry.len() + self.index.shards()
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
