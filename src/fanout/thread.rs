//! A JavaScript thread, as the fan-out sees it: a bounded queue. It knows neither the registry nor where messages come from.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::item::{InvalidationReason, Item, Notice, Token};
use crate::backlog::BoundedQueue;
use crate::wake::WakeOnce;

/// Where a thread's messages come from.
pub trait Upstream: Send + Sync {
    /// Handlers or watchers have come or gone: subscribes the channels that threads need, and no others.
    fn reconcile(self: Arc<Self>);

    /// Whether events are being missed at this moment.
    fn misses_events(&self) -> bool;
}

pub struct Thread {
    queue: Mutex<ItemQueue>,
    /// How many handlers and watchers the thread has: changed by the registry only.
    pub handlers: AtomicUsize,
    pub watchers: AtomicUsize,
    /// Weak, as the upstream holds its threads.
    upstream: Mutex<Option<Weak<dyn Upstream>>>,
}

struct ItemQueue {
    items: BoundedQueue<Item>,
    /// Subscriptions whose invalidation is queued: it stands for all that is dropped until it is taken.
    invalid: HashSet<Arc<str>>,
    /// Watchers whose change is queued beyond the bounds.
    changed: HashSet<Token>,
    overflow: Overflow,
    /// When nothing waited last: what is dropped came later.
    empty_at: SystemTime,
    notices: Vec<Notice>,
    wake: WakeOnce,
}

/// Whether items are dropped because the queue is full. Ends when all items are taken.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    #[default]
    No,
    Begun(SystemTime),
    Told,
}

impl Thread {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        let queue = ItemQueue {
            items: BoundedQueue::default(),
            invalid: HashSet::new(),
            changed: HashSet::new(),
            overflow: Overflow::No,
            empty_at: SystemTime::now(),
            notices: Vec::new(),
            wake: WakeOnce::new(wake),
        };
        Arc::new(Self {
            queue: Mutex::new(queue),
            handlers: AtomicUsize::new(0),
            watchers: AtomicUsize::new(0),
            upstream: Mutex::default(),
        })
    }

    pub fn set_upstream(&self, upstream: Option<Weak<dyn Upstream>>) {
        *self.upstream.lock() = upstream;
    }

    /// Whether the thread's messages come from this upstream.
    pub fn is_fed_by<U: Upstream>(&self, upstream: &U) -> bool {
        let own = self.upstream.lock();
        own.as_ref()
            .is_some_and(|own| std::ptr::addr_eq(own.as_ptr(), upstream))
    }

    /// Whether the thread has missed nothing that another one has heard.
    pub fn hears_as(&self, other: &Thread) -> bool {
        let upstream = self.upstream.lock().clone();
        let same = match (&upstream, &*other.upstream.lock()) {
            (None, None) => return true,
            (Some(one), Some(other)) => one.ptr_eq(other),
            _ => false,
        };
        same && upstream
            .and_then(|upstream| upstream.upgrade())
            .is_some_and(|upstream| !upstream.misses_events())
    }

    /// Handlers or watchers have come or gone: the upstream follows.
    pub fn reconcile(&self) {
        let upstream = self.upstream.lock().as_ref().and_then(Weak::upgrade);
        if let Some(upstream) = upstream {
            upstream.reconcile();
        }
    }

    /// Queues an event. False if the queue is full: then the subscription is invalidated instead.
    pub fn event(&self, handler: Token, subscription: &Arc<str>, event: &str, by_itself: bool) -> bool {
        let mut queue = self.queue.lock();
        let item = Item::Event {
            handler,
            subscription: subscription.clone(),
            event: event.into(),
        };
        let fits = queue.items.fits(&item);
        if fits {
            queue.items.push(item);
        } else {
            if queue.overflow == Overflow::No {
                queue.overflow = Overflow::Begun(queue.empty_at);
            }
            queue.invalidate(handler, subscription, InvalidationReason::Overflow);
        }
        queue.wake(by_itself);
        fits
    }

    pub fn changed(&self, watcher: Token) {
        let mut queue = self.queue.lock();
        let item = Item::Changed { watcher };
        if queue.items.fits(&item) || queue.changed.insert(watcher) {
            queue.items.push(item);
        }
        queue.wake(false);
    }

    pub fn invalidate(&self, subscriptions: &[(Token, Arc<str>)]) {
        let mut queue = self.queue.lock();
        for (handler, subscription) in subscriptions {
            queue.invalidate(*handler, subscription, InvalidationReason::Gap);
        }
        queue.wake(false);
    }

    pub fn notice(&self, notice: Notice) {
        let mut queue = self.queue.lock();
        queue.notices.push(notice);
        queue.wake(false);
    }

    /// Gives the items of one handler to another.
    pub fn rename(&self, before: Token, after: Token) {
        for item in self.queue.lock().items.iter_mut() {
            match item {
                Item::Event { handler, .. } | Item::Invalidate { handler, .. } if *handler == before => {
                    *handler = after;
                }
                _ => {}
            }
        }
    }

    /// Drops the items of a handler. Gives the subscriptions that had some.
    pub fn leave(&self, leaving: Token) -> HashSet<Arc<str>> {
        let mut left = HashSet::new();
        self.drop_items(|item| match item {
            Item::Event {
                handler,
                subscription,
                ..
            }
            | Item::Invalidate {
                handler,
                subscription,
                ..
            } if *handler == leaving => {
                left.insert(subscription.clone());
                true
            }
            _ => false,
        });
        left
    }

    /// Drops the items of a subscription. Whether it had some.
    pub fn forget(&self, ended: &str) -> bool {
        let mut forgot = false;
        self.drop_items(|item| match item {
            Item::Event { subscription, .. } | Item::Invalidate { subscription, .. } => {
                let is_it = &**subscription == ended;
                forgot |= is_it;
                is_it
            }
            Item::Changed { .. } => false,
        });
        forgot
    }

    fn drop_items(&self, mut drops: impl FnMut(&Item) -> bool) {
        let ItemQueue { items, invalid, .. } = &mut *self.queue.lock();
        items.retain(|item| {
            let dropped = drops(item);
            if let (true, Item::Invalidate { subscription, .. }) = (dropped, item) {
                invalid.remove(subscription);
            }
            !dropped
        });
    }

    /// Takes at most `count` items, in order. The thread comes again by itself while any are left.
    pub fn take(&self, count: usize) -> Vec<Item> {
        let mut queue = self.queue.lock();
        let taken = Vec::from(queue.items.take(count));
        for item in &taken {
            match item {
                Item::Invalidate { subscription, .. } => {
                    queue.invalid.remove(subscription);
                }
                Item::Changed { watcher } => {
                    queue.changed.remove(watcher);
                }
                Item::Event { .. } => {}
            }
        }
        let left = !queue.items.is_empty();
        queue.wake.taken(left);
        if !left {
            queue.empty_at = SystemTime::now();
            if queue.overflow == Overflow::Told {
                queue.overflow = Overflow::No;
            }
        }
        taken
    }

    /// How many items wait.
    pub fn waiting(&self) -> usize {
        self.queue.lock().items.len()
    }

    pub fn take_notices(&self) -> Vec<Notice> {
        let mut queue = self.queue.lock();
        let mut notices = std::mem::take(&mut queue.notices);
        if let Overflow::Begun(since) = queue.overflow {
            queue.overflow = if queue.items.is_empty() {
                Overflow::No
            } else {
                Overflow::Told
            };
            notices.push(Notice::Overflow(since));
        }
        notices
    }

    pub fn demand(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.handlers), count(&self.watchers))
    }
}

impl ItemQueue {
    /// `by_itself` in a call of the thread itself, which takes all items before it returns.
    fn wake(&mut self, by_itself: bool) {
        if !by_itself {
            self.wake.wake();
        }
    }

    /// Always fits: there is at most one for each subscription.
    fn invalidate(&mut self, handler: Token, subscription: &Arc<str>, reason: InvalidationReason) {
        if self.invalid.insert(subscription.clone()) {
            let subscription = subscription.clone();
            self.items.push(Item::Invalidate {
                handler,
                subscription,
                reason,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::MAX_ITEMS;

    #[test]
    fn what_does_not_fit_becomes_one_invalidation_of_each_subscription() {
        let thread = Thread::new(|| true);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for _ in 0..MAX_ITEMS {
            assert!(thread.event(1, &a, "{}", false));
        }
        for _ in 0..3 {
            assert!(!thread.event(1, &a, "{}", false));
            assert!(!thread.event(2, &b, "{}", false));
            thread.changed(3);
        }
        assert!(matches!(thread.take_notices()[..], [Notice::Overflow(_)]));
        assert_eq!(thread.take(MAX_ITEMS).len(), MAX_ITEMS);
        let invalidate = |handler, subscription: &Arc<str>| Item::Invalidate {
            handler,
            subscription: subscription.clone(),
            reason: InvalidationReason::Overflow,
        };
        let rest = thread.take(MAX_ITEMS);
        assert_eq!(
            rest,
            [invalidate(1, &a), invalidate(2, &b), Item::Changed { watcher: 3 }]
        );
        assert!(thread.event(1, &a, "{}", false));
        assert!(thread.take_notices().is_empty());
    }

    #[test]
    fn a_batch_is_bounded_and_until_the_rest_is_taken_nothing_wakes() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let thread = Thread::new(move || counter.fetch_add(1, Ordering::Relaxed) < usize::MAX);
        let a: Arc<str> = "a".into();
        for _ in 0..5 {
            thread.event(1, &a, "{}", false);
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        // A wake-up by then would be met before the event loop turns, and the next one too: a flood stopped the loop for seconds.
        assert_eq!(thread.take(3).len(), 3);
        thread.event(1, &a, "{}", false);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(thread.take(3).len(), 3);
        thread.event(1, &a, "{}", false);
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_subscription_that_has_ended_gets_nothing_of_what_waits() {
        let thread = Thread::new(|| true);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        thread.event(1, &a, "1", false);
        thread.event(1, &b, "2", false);
        thread.invalidate(&[(1, a.clone())]);
        thread.forget("a");
        thread.invalidate(&[(1, a.clone())]);
        let taken = thread.take(9);
        assert!(
            matches!(&taken[..], [Item::Event { subscription, .. }, Item::Invalidate { .. }] if *subscription == b)
        );
    }
}
