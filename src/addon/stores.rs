//! The memory stores of the process.

use std::cell::RefCell;
use std::rc::{Rc, Weak as LocalWeak};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use crate::commands::Database;
use crate::error::{Error, Result};
use crate::store::Policy;

/// What a handle holds of a store.
pub enum Store {
    /// Of one thread, and so without a lock: to unlock one costs a tenth of a SET, as it waits for all writes before it.
    Private(Rc<RefCell<Database>>),
    Shared(Arc<SharedStore>),
}

pub struct SharedStore {
    database: Mutex<Database>,
    policy: Policy,
}

/// Those that worker threads share by name. A name is free again when its last handle has gone.
static SHARED: LazyLock<DashMap<String, Weak<SharedStore>>> = LazyLock::new(DashMap::new);

thread_local! {
    static PRIVATE: RefCell<Vec<LocalWeak<RefCell<Database>>>> = const { RefCell::new(Vec::new()) };
}

impl Store {
    pub fn open(shared: Option<String>, policy: Policy) -> Result<Self> {
        match shared {
            Some(name) => SharedStore::open(name, policy).map(Store::Shared),
            None => {
                let database = Rc::new(RefCell::new(Database::new(policy)));
                PRIVATE.with_borrow_mut(|stores| stores.push(Rc::downgrade(&database)));
                Ok(Store::Private(database))
            }
        }
    }

    /// Runs `work` with nothing in between, also from other threads.
    pub fn with<R>(&self, work: impl FnOnce(&mut Database) -> R) -> R {
        match self {
            Store::Private(database) => work(&mut database.borrow_mut()),
            Store::Shared(store) => work(&mut store.database.lock()),
        }
    }

    /// The same, unless the store is in use.
    pub fn try_with<R>(&self, work: impl FnOnce(&mut Database) -> R) -> Option<R> {
        match self {
            Store::Private(database) => database
                .try_borrow_mut()
                .ok()
                .map(|mut database| work(&mut database)),
            Store::Shared(store) => store.database.try_lock().map(|mut database| work(&mut database)),
        }
    }
}

impl SharedStore {
    fn open(name: String, policy: Policy) -> Result<Arc<Self>> {
        let create = || {
            Arc::new(Self {
                database: Mutex::new(Database::new(policy)),
                policy,
            })
        };
        let store = match SHARED.entry(name) {
            Entry::Vacant(entry) => {
                let store = create();
                entry.insert(Arc::downgrade(&store));
                store
            }
            Entry::Occupied(mut entry) => entry.get().upgrade().unwrap_or_else(|| {
                let store = create();
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
}

/// Removes keys that are due, from the stores of this thread and the shared ones, until `budget` is used up. True if more
/// are due.
///
/// A store that is in use is passed over: a long script in another thread must not hold up this one.
pub fn sweep(budget: Duration) -> bool {
    let started = Instant::now();
    let mut more = false;
    for store in open_stores() {
        let left = budget.saturating_sub(started.elapsed());
        more |= store
            .try_with(|database| database.keyspace.sweep(left))
            .unwrap_or(false);
    }
    more
}

fn open_stores() -> Vec<Store> {
    let mut stores = Vec::new();
    PRIVATE.with_borrow_mut(|private| {
        private.retain(|store| store.strong_count() > 0);
        stores.extend(private.iter().filter_map(LocalWeak::upgrade).map(Store::Private));
    });
    SHARED.retain(|_, store| store.strong_count() > 0);
    stores.extend(
        SHARED
            .iter()
            .filter_map(|store| store.upgrade())
            .map(Store::Shared),
    );
    stores
}
