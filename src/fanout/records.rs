//! The subscriptions whose records this process wrote to a server: those of the framework's streams here, and possibly others.

mod state;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::change::Change;
use crate::redis::config::{Config, Target};
use crate::redis::protocol::decode;
use crate::redis::request::{Fate, Observer};
use crate::reply::Reply;
use crate::trace::{Area, trace};
use state::ChangeOutcome;
pub use state::{Decision, RecordsState};

/// Kept while it has records: streams outlive the store that they were opened with.
static SERVERS: Mutex<Vec<Arc<Records>>> = Mutex::new(Vec::new());

pub struct Records {
    target: Target,
    db: i64,
    /// Locked while records change, so that channels follow; before the pipeline of a subscribing connection.
    followers: Mutex<Vec<Arc<dyn Follower>>>,
    /// Locked by incoming messages too, within a pipeline.
    state: Mutex<RecordsState>,
}

/// A store that writes records.
pub struct Recorder {
    pub records: Arc<Records>,
    creator: Arc<Creator>,
}

/// A store that has created records.
pub struct Creator {
    pub store: StoreNumber,
    pub config: Arc<Config>,
}

/// Unique in the process.
pub type StoreNumber = u64;

/// Is told which subscriptions have streams here, each of which may have a channel of its own.
pub trait Follower: Send + Sync {
    /// The store for which it hears.
    fn store(&self) -> StoreNumber;

    /// That of its store. Stores whose configurations are equal share the connection by which own channels come.
    fn config(&self) -> &Config;

    /// Whether it takes events by own channels.
    fn is_targeted(&self) -> bool;

    fn came(&self, subscriptions: &[Arc<str>]);

    fn went(&self, subscriptions: &[Arc<str>]);
}

/// Changes that were called with one request.
struct Called {
    records: Arc<Records>,
    creator: Arc<Creator>,
    /// Each with the position of its command in a transaction, if it is of one, and its number.
    changes: Vec<(Option<usize>, u64, Change)>,
}

impl Records {
    /// Those of a server.
    pub fn at(config: &Config) -> Arc<Self> {
        let mut servers = SERVERS.lock();
        servers.retain(|records| Arc::strong_count(records) > 1 || !records.state.lock().is_empty());
        if let Some(records) = servers
            .iter()
            .find(|records| records.db == config.db && records.target.is_same(&config.target))
        {
            return records.clone();
        }
        let records = Arc::new(Self {
            target: config.target.clone(),
            db: config.db,
            followers: Mutex::default(),
            state: Mutex::default(),
        });
        servers.push(records.clone());
        records
    }

    pub fn lock(&self) -> MutexGuard<'_, RecordsState> {
        self.state.lock()
    }

    /// Tells a follower of the subscriptions that have streams here, and of what becomes of them.
    pub fn join(&self, follower: Arc<dyn Follower>) {
        self.change(|followers| {
            if !has(followers, &follower) {
                followers.push(follower);
            }
        });
    }

    pub fn leave(&self, follower: &Arc<dyn Follower>) {
        self.change(|followers| followers.retain(|other| !Arc::ptr_eq(other, follower)));
    }

    /// Changes who follows: whose channels come and go by that is told.
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn Follower>>)) {
        let mut followers = self.followers.lock();
        let before = followers.clone();
        change(&mut followers);
        // The state is unlocked before anyone is told: messages lock it within a pipeline, which a follower locks too.
        let created = self.state.lock().created();
        for (creator, subscriptions) in created {
            let (before, after) = (following(&before, &creator), following(&followers, &creator));
            for follower in before.iter().filter(|follower| !has(&after, follower)) {
                follower.went(&subscriptions);
            }
            for follower in after.iter().filter(|follower| !has(&before, follower)) {
                follower.came(&subscriptions);
            }
        }
    }

    /// Tells a follower once more of those among these subscriptions that it follows.
    pub fn again(&self, follower: &Arc<dyn Follower>, subscriptions: &HashSet<Vec<u8>>) {
        let mut followed = self.followed(&**follower);
        followed.retain(|subscription| subscriptions.contains(subscription.as_bytes()));
        follower.came(&followed);
    }

    /// The subscriptions whose own channels a follower has.
    pub fn followed(&self, follower: &dyn Follower) -> Vec<Arc<str>> {
        let followers = self.followers.lock();
        let created = self.state.lock().created();
        let follows = |creator: &Creator| {
            let mut following = following(&followers, creator).into_iter();
            following.any(|other| other.store() == follower.store())
        };
        let followed = created.into_iter().filter(|(creator, _)| follows(creator));
        followed.flat_map(|(_, subscriptions)| subscriptions).collect()
    }

    fn apply(&self, called: &Called, outcome: impl Fn(Option<usize>) -> ChangeOutcome) {
        let Called { creator, changes, .. } = called;
        let followers = self.followers.lock();
        let mut state = self.state.lock();
        let before = state.decision();
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for (position, call, change) in changes {
            match (change, outcome(*position)) {
                (Change::Write { records, .. }, outcome) => {
                    state.written(records, outcome, creator, &mut came)
                }
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
        for follower in following(&followers, creator) {
            follower.came(&came);
        }
        for follower in &*followers {
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

impl Recorder {
    pub fn of(store: StoreNumber, config: Arc<Config>) -> Self {
        Self {
            records: Records::at(&config),
            creator: Arc::new(Creator { store, config }),
        }
    }

    /// Changes are about to be sent with one request, each with the position of its command in a transaction. Gives who is to be told the
    /// outcome.
    pub fn call(&self, changes: Vec<(Option<usize>, Change)>) -> Arc<dyn Observer> {
        let mut state = self.records.state.lock();
        let before = state.decision();
        let changes = changes.into_iter().map(|(position, change)| {
            let call = state.next_call();
            state.call(&change, call);
            (position, call, change)
        });
        let changes = changes.collect();
        self.records.trace_decision(before, &state);
        Arc::new(Called {
            records: self.records.clone(),
            creator: self.creator.clone(),
            changes,
        })
    }
}

/// Who subscribes the own channels of a store's streams: those by whose connection that store hears itself, if it takes them. Without such a
/// follower of its own, those of an equal configuration, if all take them: one that does not would hear none of their events.
fn following(followers: &[Arc<dyn Follower>], creator: &Creator) -> Vec<Arc<dyn Follower>> {
    let own = followers
        .iter()
        .find(|follower| follower.store() == creator.store);
    let config = own.map_or(&*creator.config, |own| own.config());
    let shares = |other: &Config| std::ptr::eq(other, config) || other == config;
    let sharing = followers.iter().filter(|follower| shares(follower.config()));
    let takes = match own {
        Some(own) => own.is_targeted(),
        None => sharing.clone().all(|follower| follower.is_targeted()),
    };
    let following = sharing.filter(|follower| takes && follower.is_targeted());
    following.cloned().collect()
}

fn has(followers: &[Arc<dyn Follower>], follower: &Arc<dyn Follower>) -> bool {
    followers.iter().any(|other| Arc::ptr_eq(other, follower))
}

impl std::fmt::Debug for Called {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_struct("Called").finish_non_exhaustive()
    }
}

impl Observer for Called {
    fn replied(&self, replies: &Bytes) {
        let replies = decode::parse_all(replies).unwrap_or_default();
        self.records.apply(self, |position| {
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
        self.records.apply(self, |_| match fate {
            Fate::NotRun => ChangeOutcome::Failed,
            Fate::Unknown => ChangeOutcome::Unknown,
        });
    }
}

#[cfg(test)]
#[path = "tests/records.rs"]
mod tests;
