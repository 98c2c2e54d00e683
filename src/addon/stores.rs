//! The memory stores of the process.

use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use crate::commands::Database;
use crate::error::{Error, Result};
use crate::store::Policy;

pub struct Store {
    pub database: Mutex<Database>,
    policy: Policy,
}

/// Those that worker threads share by name. A name is free again when its last handle has gone.
static SHARED: LazyLock<DashMap<String, Weak<Store>>> = LazyLock::new(DashMap::new);

/// All, for the sweep.
static STORES: Mutex<Vec<Weak<Store>>> = Mutex::new(Vec::new());

impl Store {
    pub fn open(shared: Option<String>, policy: Policy) -> Result<Arc<Self>> {
        let Some(name) = shared else {
            return Ok(Self::create(policy));
        };
        let store = match SHARED.entry(name) {
            Entry::Vacant(entry) => {
                let store = Self::create(policy);
                entry.insert(Arc::downgrade(&store));
                store
            }
            Entry::Occupied(mut entry) => entry.get().upgrade().unwrap_or_else(|| {
                let store = Self::create(policy);
                entry.insert(Arc::downgrade(&store));
                store
            }),
        };
        if store.policy != policy {
            return Err(Error::ours(
                "CONFIG",
                "this shared store is already open with another `strict`: use the same for all",
            ));
        }
        Ok(store)
    }

    fn create(policy: Policy) -> Arc<Self> {
        let store = Arc::new(Self {
            database: Mutex::new(Database::new(policy)),
            policy,
        });
        STORES.lock().push(Arc::downgrade(&store));
        store
    }
}

/// Removes keys that are due, from all stores, until `budget` is used up. True if more are due.
///
/// A store that another thread holds is passed over: a long script there must not hold up this thread.
pub fn sweep(budget: Duration) -> bool {
    let started = Instant::now();
    let stores = {
        let mut stores = STORES.lock();
        stores.retain(|store| store.strong_count() > 0);
        stores.clone()
    };
    let mut more = false;
    for store in stores.iter().filter_map(Weak::upgrade) {
        let left = budget.saturating_sub(started.elapsed());
        if let Some(mut database) = store.database.try_lock() {
            more |= database.keyspace.sweep(left);
        }
    }
    more
}
