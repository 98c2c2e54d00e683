//! The subscriptions whose records this process wrote to a server: those of the framework's streams here, and possibly others.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use super::change::{Change, Written};
use super::message;
use crate::redis::config::{Config, Target};
use crate::redis::protocol::decode;
use crate::redis::request::{Fate, Observer};
use crate::reply::Reply;
use crate::trace::{Area, trace};

/// Kept while it has records: streams outlive the store that they were opened with.
static SERVERS: Mutex<Vec<Arc<Records>>> = Mutex::new(Vec::new());

pub struct Records {
    target: Target,
    /// Locked while records change, so that channels follow; before the pipeline of a subscribing connection.
    followers: Mutex<Vec<Arc<dyn Follower>>>,
    /// Locked by incoming messages too, within a pipeline.
    state: Mutex<RecordsState>,
}

/// Is told which subscriptions have streams here, each of which may have a channel of its own.
pub trait Follower: Send + Sync {
    fn came(&self, subscriptions: &[Arc<str>]);

    fn went(&self, subscriptions: &[Arc<str>]);
}

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
    /// This process created it, so that its stream is here.
    is_created: bool,
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

/// Changes that were called with one request.
#[derive(Debug)]
struct Called {
    records: Arc<Records>,
    /// Each with the position of its command in a transaction, if it is of one, and its number.
    changes: Vec<(Option<usize>, u64, Change)>,
}

/// The outcome of a change.
#[derive(Clone, Copy)]
enum ChangeOutcome {
    /// The number in the server's reply.
    Count(i64),
    Failed,
    Unknown,
}

impl Records {
    /// Those of a server.
    pub fn at(config: &Config) -> Arc<Self> {
        let mut servers = SERVERS.lock();
        servers.retain(|records| Arc::strong_count(records) > 1 || !records.state.lock().records.is_empty());
        if let Some(records) = servers
            .iter()
            .find(|records| records.target.is_same(&config.target))
        {
            return records.clone();
        }
        let records = Arc::new(Self {
            target: config.target.clone(),
            followers: Mutex::default(),
            state: Mutex::default(),
        });
        servers.push(records.clone());
        records
    }

    pub fn lock(&self) -> MutexGuard<'_, RecordsState> {
        self.state.lock()
    }

    /// Tells a follower of all subscriptions that have streams here, and of what becomes of them.
    pub fn join(&self, follower: Arc<dyn Follower>) {
        let mut followers = self.followers.lock();
        if followers.iter().any(|other| Arc::ptr_eq(other, &follower)) {
            return;
        }
        let created = self.state.lock().created();
        follower.came(&created);
        followers.push(follower);
    }

    pub fn leave(&self, follower: &Arc<dyn Follower>) {
        let mut followers = self.followers.lock();
        for leaving in followers.extract_if(.., |other| Arc::ptr_eq(other, follower)) {
            let created = self.state.lock().created();
            leaving.went(&created);
        }
    }

    /// Tells a follower once more of those among these subscriptions that have streams here.
    pub fn again(&self, follower: &Arc<dyn Follower>, subscriptions: &HashSet<Vec<u8>>) {
        let followers = self.followers.lock();
        if followers.iter().any(|other| Arc::ptr_eq(other, follower)) {
            let mut created = self.state.lock().created();
            created.retain(|subscription| subscriptions.contains(subscription.as_bytes()));
            follower.came(&created);
        }
    }

    /// Changes are about to be sent with one request, each with the position of its command in a transaction. Gives who is to be told the
    /// outcome.
    pub fn call(self: &Arc<Self>, changes: Vec<(Option<usize>, Change)>) -> Arc<dyn Observer> {
        let mut state = self.state.lock();
        let before = state.decision();
        let changes = changes.into_iter().map(|(position, change)| {
            state.calls += 1;
            let call = state.calls;
            state.call(&change, call);
            (position, call, change)
        });
        let changes = changes.collect();
        self.trace_decision(before, &state);
        Arc::new(Called {
            records: self.clone(),
            changes,
        })
    }

    fn apply(
        &self,
        changes: &[(Option<usize>, u64, Change)],
        outcome: impl Fn(Option<usize>) -> ChangeOutcome,
    ) {
        let followers = self.followers.lock();
        let mut state = self.state.lock();
        let before = state.decision();
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for (position, call, change) in changes {
            match (change, outcome(*position)) {
                (Change::Write { records, .. }, outcome) => state.written(records, outcome, &mut came),
                (Change::Remove { hash, subscriptions }, ChangeOutcome::Count(_)) => {
                    for subscription in subscriptions {
                        state.remove(subscription, hash, *call, &mut went);
                    }
                }
                (Change::RemoveAll { hashes }, ChangeOutcome::Count(_)) => {
                    for hash in hashes {
                        for subscription in state.of(hash) {
                            state.remove(&subscription, hash, *call, &mut went);
                        }
                    }
                }
                _ => {}
            }
        }
        self.trace_decision(before, &state);
        drop(state);
        for follower in &*followers {
            follower.came(&came);
            follower.went(&went);
        }
    }

    fn trace_decision(&self, before: Decision, state: &RecordsState) {
        let after = state.decision();
        if after != before {
            trace(Area::Fanout, || format!("{}: filter: {after:?}", self.target));
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_struct("Records").finish_non_exhaustive()
    }
}

impl Observer for Called {
    fn replied(&self, replies: &Bytes) {
        let replies = decode::parse_all(replies).unwrap_or_default();
        self.records.apply(&self.changes, |position| {
            let reply = match (position, replies.last()) {
                (Some(position), Some(Reply::Array(results))) => results.get(position),
                (None, reply) => reply,
                _ => None,
            };
            match reply {
                Some(Reply::Integer(count)) => ChangeOutcome::Count(*count),
                _ => ChangeOutcome::Failed,
            }
        });
    }

    fn unanswered(&self, fate: Fate) {
        self.records.apply(&self.changes, |_| match fate {
            Fate::NotRun => ChangeOutcome::Failed,
            Fate::Unknown => ChangeOutcome::Unknown,
        });
    }
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

    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Those whose own channel this process subscribes.
    pub fn created(&self) -> Vec<Arc<str>> {
        let created = self.records.iter().filter(|(_, record)| record.is_created);
        created.map(|(subscription, _)| subscription.clone()).collect()
    }

    fn of(&self, hash: &[u8]) -> Vec<Arc<str>> {
        let of_hash = self.records.iter().filter(|(_, record)| *record.hash == *hash);
        of_hash.map(|(subscription, _)| subscription.clone()).collect()
    }

    /// A record counts from its call on: only once it is on the server can anything be published for it.
    fn call(&mut self, change: &Change, call: u64) {
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
            is_created: false,
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
    fn written(&mut self, records: &[Written], outcome: ChangeOutcome, came: &mut Vec<Arc<str>>) {
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
            if all && record.is_readable && !mem::replace(&mut record.is_created, true) {
                self.is_known = true;
                came.push(subscription.clone());
            }
            if record.pending == 0 && !record.is_own {
                self.forget(subscription);
            }
        }
    }

    /// Unless it was written again after that was called.
    fn remove(&mut self, subscription: &Arc<str>, hash: &Arc<[u8]>, call: u64, went: &mut Vec<Arc<str>>) {
        let record = self.records.get(subscription);
        let is_it = |record: &&Record| record.hash == *hash && record.written < call;
        let Some(record) = record.filter(is_it) else {
            return;
        };
        if record.is_created {
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

#[cfg(test)]
#[path = "tests/records.rs"]
mod tests;
