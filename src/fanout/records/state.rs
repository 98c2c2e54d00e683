//! What is known of the records of a server: a record counts from its call on, until another call has removed it.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::fanout::change::{Change, Written};
use crate::fanout::message;
use crate::fanout::records::{Creator, StoreNumber};

#[derive(Default)]
pub struct RecordsState {
    records: HashMap<Arc<str>, Record, RandomState>,
    unreadable: usize,
    /// A record of the known form has been created.
    is_known: bool,
    /// A command that is not known for it wrote to a hash of records.
    is_strange: bool,
    /// How many changes have been called.
    calls: u64,
}

struct Record {
    hash: Arc<[u8]>,
    is_readable: bool,
    /// How many HSET are unanswered.
    pending: u32,
    /// This process created it, or may have; another one's is written here too.
    is_own: bool,
    /// The store of this process that created it, so that its stream is here.
    creator: Option<Arc<Creator>>,
    /// The number of the last HSET.
    written: u64,
}

/// Whether messages are filtered, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Filters,
    NoRecord,
    Unreadable,
}

/// The outcome of a change.
#[derive(Clone, Copy)]
pub enum ChangeOutcome {
    /// The number in the server's reply.
    Count(i64),
    Failed,
    Unknown,
}

impl RecordsState {
    /// Whether messages for other processes may be dropped.
    pub fn decision(&self) -> Decision {
        if self.unreadable > 0 || self.is_strange {
            Decision::Unreadable
        } else if self.is_known {
            Decision::Filters
        } else {
            Decision::NoRecord
        }
    }

    /// Whether a message may be for a stream here. One that says not whom it is for may be.
    pub fn wants(&self, message: &[u8]) -> bool {
        message::may_be_for(message, |subscription| self.records.contains_key(subscription))
    }

    /// Those whose records have the known form.
    pub fn subscriptions(&self) -> Vec<String> {
        let readable = self.records.iter().filter(|(_, record)| record.is_readable);
        readable
            .map(|(subscription, _)| subscription.to_string())
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A number for a change, which counts up.
    pub fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Those that stores of this process created, each with its creator.
    pub fn created(&self) -> Vec<(Arc<Creator>, Vec<Arc<str>>)> {
        let mut created: HashMap<StoreNumber, (Arc<Creator>, Vec<Arc<str>>)> = HashMap::new();
        for (subscription, record) in &self.records {
            if let Some(creator) = &record.creator {
                let of_store = created.entry(creator.store);
                let (_, subscriptions) = of_store.or_insert_with(|| (creator.clone(), Vec::new()));
                subscriptions.push(subscription.clone());
            }
        }
        created.into_values().collect()
    }

    pub fn of(&self, hash: &[u8]) -> Vec<Arc<str>> {
        let of_hash = self.records.iter().filter(|(_, record)| *record.hash == *hash);
        of_hash.map(|(subscription, _)| subscription.clone()).collect()
    }

    /// A record counts from its call on: only once it is on the server can anything be published for it.
    pub fn call(&mut self, change: &Change, call: u64) {
        match change {
            Change::Write { hash, records } => {
                for written in records {
                    self.write(written, hash, call);
                }
            }
            Change::Other => self.is_strange = true,
            Change::Remove { .. } | Change::RemoveAll { .. } => {}
        }
    }

    fn write(&mut self, written: &Written, hash: &Arc<[u8]>, call: u64) {
        let record = self.records.entry(written.subscription.clone());
        let record = record.or_insert_with(|| Record {
            hash: hash.clone(),
            is_readable: true,
            pending: 0,
            is_own: false,
            creator: None,
            written: call,
        });
        self.unreadable -= usize::from(!record.is_readable);
        self.unreadable += usize::from(!written.is_readable);
        record.hash = hash.clone();
        record.is_readable = written.is_readable;
        record.pending += 1;
        record.written = call;
    }

    /// An HSET has ended. Gives those that it created.
    pub fn written(
        &mut self,
        records: &[Written],
        outcome: ChangeOutcome,
        creator: &Arc<Creator>,
        came: &mut Vec<Arc<str>>,
    ) {
        let (all, some) = match outcome {
            ChangeOutcome::Count(count) => (count == records.len() as i64, count > 0),
            ChangeOutcome::Failed => (false, false),
            ChangeOutcome::Unknown => (false, true),
        };
        for Written { subscription, .. } in records {
            let Some(record) = self.records.get_mut(subscription) else {
                continue;
            };
            record.pending = record.pending.saturating_sub(1);
            // A process that writes unknown records may have written others before.
            record.is_own |= some || (!record.is_readable && !matches!(outcome, ChangeOutcome::Failed));
            if all && record.is_readable && record.creator.is_none() {
                record.creator = Some(creator.clone());
                self.is_known = true;
                came.push(subscription.clone());
            }
            if record.pending == 0 && !record.is_own {
                self.forget(subscription);
            }
        }
    }

    /// Unless it was written again after that was called, or is being written: by another connection the order is not known.
    pub fn remove(&mut self, subscription: &Arc<str>, hash: &Arc<[u8]>, call: u64, went: &mut Vec<Arc<str>>) {
        let record = self.records.get(subscription);
        let is_it = |record: &&Record| record.hash == *hash && record.written < call && record.pending == 0;
        let Some(record) = record.filter(is_it) else {
            return;
        };
        if record.creator.is_some() {
            went.push(subscription.clone());
        }
        self.forget(subscription);
    }

    fn forget(&mut self, subscription: &str) {
        if let Some(record) = self.records.remove(subscription) {
            self.unreadable -= usize::from(!record.is_readable);
        }
    }
}
