//! Which thread of this process has which handlers, subscriptions and watchers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use dashmap::mapref::one::Ref;
use parking_lot::Mutex;

use super::channel::Channel;
use super::item::{Notice, Token};
use super::message::{self, Malformed};
use super::thread::Thread;
use crate::redis::completions::Gap;

pub static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

#[derive(Default)]
pub struct Registry {
    /// Locked for each change, so that the maps agree. A lookup locks one shard.
    changes: Mutex<()>,
    handlers: DashMap<Arc<str>, Handler>,
    subscriptions: DashMap<Arc<str>, Owner>,
    watchers: DashMap<String, Vec<ResourceWatcher>>,
    pub counters: Counters,
    /// Whether a warning of a subscription that changed its handler was given.
    told_taken_over: AtomicBool,
}

/// Since the process began.
#[derive(Default)]
pub struct Counters {
    /// Messages that came in.
    pub seen: AtomicU64,
    /// Events for handlers of this process, unpublished ones included.
    pub delivered: AtomicU64,
    /// Events for handlers of other processes.
    pub not_local: AtomicU64,
    pub malformed: AtomicU64,
    /// Events that were dropped because a queue was full.
    pub overflowed: AtomicU64,
    pub gaps: AtomicU64,
}

struct Handler {
    token: Token,
    thread: Arc<Thread>,
    subscriptions: HashSet<Arc<str>>,
}

/// The handler that has a subscription.
struct Owner {
    handler: Arc<str>,
    token: Token,
    thread: Arc<Thread>,
}

struct ResourceWatcher {
    token: Token,
    thread: Arc<Thread>,
}

/// Where an event went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Nobody,
    OtherThread,
    ThisThread,
}

/// The outcome of tracking a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// This process has no such handler.
    Nowhere,
    Here,
    /// Another handler has lost it: the first time in this process, for a warning.
    TakenOver,
}

pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Registry {
    /// Adds a handler. It replaces one of the same id, whose subscriptions and queued items it gets. Gives the token of the replaced one,
    /// if that was this thread's.
    pub fn register(&self, id: &str, token: Token, thread: &Arc<Thread>) -> Option<Token> {
        let changes = self.changes.lock();
        let before = self.handlers.remove(id).map(|(_, handler)| handler);
        thread.handlers.fetch_add(1, Ordering::Relaxed);
        let id: Arc<str> = id.into();
        let subscriptions = before.as_ref().map(|handler| handler.subscriptions.clone());
        let subscriptions = subscriptions.unwrap_or_default();
        for subscription in &subscriptions {
            let owner = owner(&id, token, thread);
            self.subscriptions.insert(subscription.clone(), owner);
        }
        // The replaced handler gets no more events from here on: each is queued while the subscription's shard is locked.
        if let Some(before) = &before {
            before.thread.handlers.fetch_sub(1, Ordering::Relaxed);
            if Arc::ptr_eq(&before.thread, thread) {
                thread.rename(before.token, token);
            } else {
                // The other thread may be taking items at this moment, or may have missed some.
                let waiting = before.thread.leave(before.token);
                let missing = if before.thread.hears_as(thread) {
                    waiting
                } else {
                    subscriptions.clone()
                };
                let missing: Vec<_> = missing.into_iter().map(|name| (token, name)).collect();
                thread.invalidate(&missing);
            }
        }
        let handler = Handler {
            token,
            thread: thread.clone(),
            subscriptions,
        };
        self.handlers.insert(id, handler);
        drop(changes);
        thread.reconcile();
        before.and_then(|before| leave(&before, thread))
    }

    /// Removes a handler with its subscriptions; `only` if it has this token of this thread, where one is given. Gives its token, if it
    /// was this thread's.
    pub fn unregister(&self, id: &str, only: Option<Token>, by: &Arc<Thread>) -> Option<Token> {
        let changes = self.changes.lock();
        let is_meant = |handler: &Handler| {
            only.is_none_or(|token| handler.token == token && Arc::ptr_eq(&handler.thread, by))
        };
        let (_, handler) = self.handlers.remove_if(id, |_, handler| is_meant(handler))?;
        self.forget(&handler);
        handler.thread.leave(handler.token);
        drop(changes);
        leave(&handler, by)
    }

    fn forget(&self, handler: &Handler) {
        handler.thread.handlers.fetch_sub(1, Ordering::Relaxed);
        for subscription in &handler.subscriptions {
            self.subscriptions.remove(subscription);
        }
    }

    pub fn track(&self, handler: &str, subscription: &str) -> Tracked {
        let _changes = self.changes.lock();
        let subscription: Arc<str> = subscription.into();
        let Some(mut entry) = self.handlers.get_mut(handler) else {
            return Tracked::Nowhere;
        };
        entry.subscriptions.insert(subscription.clone());
        let owner = owner(entry.key(), entry.token, &entry.thread);
        drop(entry);
        let Some(before) = self.assign(&subscription, owner) else {
            return Tracked::Here;
        };
        if let Some(mut other) = self.handlers.get_mut(&before.handler) {
            other.subscriptions.remove(&subscription);
        }
        if self.told_taken_over.swap(true, Ordering::Relaxed) {
            Tracked::Here
        } else {
            Tracked::TakenOver
        }
    }

    /// Gives a subscription to a handler, and returns the other one that had it before. Items queued for that one are dropped, and the
    /// subscription is invalidated.
    fn assign(&self, subscription: &Arc<str>, owner: Owner) -> Option<Owner> {
        let mut slot = match self.subscriptions.entry(subscription.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(owner);
                return None;
            }
            Entry::Occupied(slot) => slot,
        };
        if slot.get().handler == owner.handler {
            slot.insert(owner);
            return None;
        }
        if slot.get().thread.forget(subscription) {
            owner.thread.invalidate(&[(owner.token, subscription.clone())]);
        }
        Some(slot.insert(owner))
    }

    pub fn untrack(&self, subscription: &str) {
        let _changes = self.changes.lock();
        let Some((_, owner)) = self.subscriptions.remove(subscription) else {
            return;
        };
        if let Some(mut handler) = self.handlers.get_mut(&owner.handler) {
            handler.subscriptions.remove(subscription);
        }
        owner.thread.forget(subscription);
    }

    pub fn watch(&self, resource: &str, token: Token, thread: &Arc<Thread>) {
        let changes = self.changes.lock();
        thread.watchers.fetch_add(1, Ordering::Relaxed);
        let mut watchers = self.watchers.entry(resource.to_owned()).or_default();
        watchers.push(ResourceWatcher {
            token,
            thread: thread.clone(),
        });
        drop(watchers);
        drop(changes);
        thread.reconcile();
    }

    pub fn unwatch(&self, resource: &str, token: Token, thread: &Arc<Thread>) {
        let changes = self.changes.lock();
        let is_it =
            |watcher: &ResourceWatcher| watcher.token == token && Arc::ptr_eq(&watcher.thread, thread);
        self.retain_watchers(resource, |watcher| !is_it(watcher));
        drop(changes);
        thread.reconcile();
    }

    fn retain_watchers(&self, resource: &str, stays: impl Fn(&ResourceWatcher) -> bool) {
        self.watchers.remove_if_mut(resource, |_, watchers| {
            for leaving in watchers.extract_if(.., |watcher| !stays(watcher)) {
                leaving.thread.watchers.fetch_sub(1, Ordering::Relaxed);
            }
            watchers.is_empty()
        });
    }

    /// A thread has ended: removes all that it had.
    pub fn remove_thread(&self, thread: &Arc<Thread>) {
        let changes = self.changes.lock();
        self.handlers.retain(|_, handler| {
            let stays = !Arc::ptr_eq(&handler.thread, thread);
            if !stays {
                self.forget(handler);
            }
            stays
        });
        let resources: Vec<_> = self.watchers.iter().map(|entry| entry.key().clone()).collect();
        for resource in resources {
            self.retain_watchers(&resource, |watcher| !Arc::ptr_eq(&watcher.thread, thread));
        }
        drop(changes);
    }

    /// Queues an event for its handler, if that is in this process.
    pub fn publish(&self, subscription: &str, event: &str, by: &Arc<Thread>) -> Reached {
        let Some(owner) = self.subscriptions.get(subscription) else {
            return Reached::Nobody;
        };
        let is_own = Arc::ptr_eq(&owner.thread, by);
        self.deliver(&owner, event, is_own);
        if is_own {
            Reached::ThisThread
        } else {
            Reached::OtherThread
        }
    }

    /// A message on the channel of events has come in, for the threads of `is_for`.
    pub fn event(&self, text: &[u8], is_for: impl Fn(&Arc<Thread>) -> bool) {
        count(&self.counters.seen);
        let found = message::event(text, |subscription| {
            let owner = self.subscriptions.get(subscription)?;
            is_for(&owner.thread).then_some(owner)
        });
        match found {
            Ok(Some((owner, event))) => self.deliver(&owner, event, false),
            Ok(None) => count(&self.counters.not_local),
            Err(Malformed) => count(&self.counters.malformed),
        }
    }

    /// The shard stays locked until the event is queued: a handler that replaces another finds all its events there.
    fn deliver(&self, owner: &Ref<Arc<str>, Owner>, event: &str, by_itself: bool) {
        let fits = owner.thread.event(owner.token, owner.key(), event, by_itself);
        count(if fits {
            &self.counters.delivered
        } else {
            &self.counters.overflowed
        });
    }

    /// A message on the channel of changes has come in. `is_echo` tells whether this process published it itself.
    pub fn aggregate(
        &self,
        text: &[u8],
        is_echo: impl FnOnce(&str) -> bool,
        is_for: impl Fn(&Arc<Thread>) -> bool,
    ) {
        count(&self.counters.seen);
        match message::aggregate(text) {
            Ok(resource) if !is_echo(&resource) => self.notify(&resource, is_for),
            Ok(_) => {}
            Err(Malformed) => count(&self.counters.malformed),
        }
    }

    /// Tells the watchers of a resource, in the threads of `is_for`.
    pub fn notify(&self, resource: &str, is_for: impl Fn(&Arc<Thread>) -> bool) {
        if let Some(watchers) = self.watchers.get(resource) {
            for watcher in watchers.iter().filter(|watcher| is_for(&watcher.thread)) {
                watcher.thread.changed(watcher.token);
            }
        }
    }

    /// Invalidates all that threads have, as messages of these channels may have been missed. One change: a handler that moves at the
    /// same time is told at least once.
    pub fn missed(&self, channels: &[Channel], gap: &Gap, threads: &[Arc<Thread>]) {
        let _changes = self.changes.lock();
        for thread in threads.iter().filter(|thread| thread.demand() != (0, 0)) {
            if channels.contains(&Channel::Events) {
                thread.invalidate(&self.subscriptions_of(thread));
            }
            if channels.contains(&Channel::Aggregate) {
                self.tell_watchers_of(thread);
            }
            thread.notice(Notice::Gap(gap.clone()));
        }
    }

    fn tell_watchers_of(&self, thread: &Arc<Thread>) {
        for watchers in &self.watchers {
            for watcher in watchers
                .iter()
                .filter(|watcher| Arc::ptr_eq(&watcher.thread, thread))
            {
                thread.changed(watcher.token);
            }
        }
    }

    fn subscriptions_of(&self, thread: &Arc<Thread>) -> Vec<(Token, Arc<str>)> {
        let mut found = Vec::new();
        for handler in self
            .handlers
            .iter()
            .filter(|handler| Arc::ptr_eq(&handler.thread, thread))
        {
            let token = handler.token;
            found.extend(handler.subscriptions.iter().map(|name| (token, name.clone())));
        }
        found
    }

    pub fn handler_count(&self) -> usize {
        self.handlers.len()
    }

    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// Of one resource, or of all.
    pub fn watcher_count(&self, resource: Option<&str>) -> usize {
        match resource {
            Some(resource) => self.watchers.get(resource).map_or(0, |watchers| watchers.len()),
            None => self.watchers.iter().map(|watchers| watchers.len()).sum(),
        }
    }
}

fn owner(handler: &Arc<str>, token: Token, thread: &Arc<Thread>) -> Owner {
    Owner {
        handler: handler.clone(),
        token,
        thread: thread.clone(),
    }
}

/// A thread has lost a handler: gives the token if that is the calling thread, and tells another thread.
fn leave(handler: &Handler, by: &Arc<Thread>) -> Option<Token> {
    handler.thread.reconcile();
    if Arc::ptr_eq(&handler.thread, by) {
        return Some(handler.token);
    }
    handler.thread.notice(Notice::Gone(handler.token));
    None
}
