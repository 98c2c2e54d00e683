//! The memory stores of the process.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::commands::Database;
use crate::error::{Error, Reason, Result};
use crate::store::{Policy, remains};

/// The store of a handle.
pub enum Store {
    /// Used by one thread, so without a lock: an unlock waits for all writes before it, and costs a tenth of a SET.
    Private(Rc<RefCell<Database>>),
    Shared(SharedHandle),
}

/// A handle of a store that worker threads share by its name.
pub struct SharedHandle {
    name: String,
    store: Arc<SharedStore>,
}

struct SharedStore {
    database: Mutex<Database>,
    policy: Policy,
}

/// With the number of handles. A count of references is not enough, as a sweep holds one too.
static SHARED: LazyLock<DashMap<String, (Arc<SharedStore>, usize)>> = LazyLock::new(DashMap::new);

thread_local! {
    static PRIVATE: RefCell<Vec<Weak<RefCell<Database>>>> = const { RefCell::new(Vec::new()) };
}

impl Store {
    pub fn open(shared: Option<String>, policy: Policy) -> Result<Self> {
        if let Some(name) = shared {
            return SharedHandle::open(name, policy).map(Store::Shared);
        }
        let database = Rc::new(RefCell::new(Database::new(policy)));
        PRIVATE.with_borrow_mut(|stores| {
            if stores.len() == stores.capacity() {
                stores.retain(|store| store.strong_count() > 0);
            }
            stores.push(Rc::downgrade(&database));
        });
        Ok(Store::Private(database))
    }

    /// Runs `work` with exclusive access.
    pub fn with<R>(&self, work: impl FnOnce(&mut Database) -> R) -> Result<R> {
        match self {
            Store::Private(database) => {
                let database = database.try_borrow_mut();
                let mut database =
                    database.map_err(|_| Error::reply("ERR a command cannot run within another"))?;
                Ok(work(&mut database))
            }
            Store::Shared(handle) => Ok(work(&mut handle.store.database.lock())),
        }
    }

    /// The same, unless the store is in use.
    pub fn try_with<R>(&self, work: impl FnOnce(&mut Database) -> R) -> Option<R> {
        match self {
            Store::Private(database) => database
                .try_borrow_mut()
                .ok()
                .map(|mut database| work(&mut database)),
            Store::Shared(handle) => handle
                .store
                .database
                .try_lock()
                .map(|mut database| work(&mut database)),
        }
    }
}

impl SharedHandle {
    fn open(name: String, policy: Policy) -> Result<Self> {
        let mut entry = SHARED.entry(name.clone()).or_insert_with(|| {
            let database = Mutex::new(Database::new(policy));
            (Arc::new(SharedStore { database, policy }), 0)
        });
        let (store, handles) = entry.value_mut();
        if store.policy != policy {
            return Err(Error::because(
                Reason::OtherStrict,
                "this shared store is already open with another `strict`: use the same for all",
            ));
        }
        *handles += 1;
        Ok(Self {
            name,
            store: store.clone(),
        })
    }
}

impl Drop for SharedHandle {
    fn drop(&mut self) {
        SHARED.remove_if_mut(&self.name, |_, (_, handles)| {
            *handles -= 1;
            *handles == 0
        });
    }
}

/// Frees values that this thread removed, then removes expired keys of its own stores and the shared ones, until `budget` is used
/// up. True if more is due.
///
/// Skips a store that is in use: a long script in another thread must not block this one.
pub fn sweep(budget: Duration) -> bool {
    let started = Instant::now();
    if remains::free(budget) {
        return true;
    }
    let left = || budget.saturating_sub(started.elapsed());
    let mut more = false;
    let private: Vec<_> = PRIVATE.with_borrow(|stores| stores.iter().filter_map(Weak::upgrade).collect());
    for store in private {
        more |= store
            .try_borrow_mut()
            .is_ok_and(|mut database| database.keyspace.sweep(left()));
    }
    let shared: Vec<_> = SHARED.iter().map(|entry| entry.value().0.clone()).collect();
    for store in shared {
        more |= store
            .database
            .try_lock()
            .is_some_and(|mut database| database.keyspace.sweep(left()));
    }
    more
}
