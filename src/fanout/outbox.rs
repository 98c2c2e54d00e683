//! What waits for a JavaScript thread to take it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::source::Source;
use crate::backlog::{MAX_BYTES, MAX_MESSAGES};
use crate::error::Error;
use crate::redis::completions::Gap;

/// Names a handler or a watcher of a thread to that thread.
pub type Token = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Gap,
    Overflow,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Event {
        handler: Token,
        subscription: Arc<str>,
        /// JSON. A copy: the bytes that it came in are many times as many.
        event: Box<str>,
    },
    /// Events of the subscription may have been missed.
    Invalidate {
        handler: Token,
        subscription: Arc<str>,
        reason: Reason,
    },
    /// The resource that the watcher watches has changed.
    Changed { watcher: Token },
}

/// What a thread is to know beside its items.
#[derive(Debug)]
pub enum Notice {
    /// Another thread has unregistered a handler, or has it now.
    Gone(Token),
    /// What was asked with this id.
    Answer(u32, Option<Error>),
    /// A channel could not be subscribed; `first` unless it could not before either.
    Failed {
        error: Error,
        first: bool,
    },
    /// The connection that channels are heard by is away.
    Reconnecting {
        attempt: u32,
        delay: Duration,
        cause: Error,
    },
    Gap(Gap),
    Overflow,
}

/// A thread, as the fan-out sees it.
pub struct Outbox {
    state: Mutex<State>,
    /// True if the thread will look.
    wake: Box<dyn Fn() -> bool + Send + Sync>,
    /// How many handlers and watchers the thread has: changed by the registry only.
    pub handlers: AtomicUsize,
    pub watchers: AtomicUsize,
    source: Mutex<Option<Arc<Source>>>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Subscriptions that an invalidation waits for: it stands for all that is dropped until it is taken.
    invalid: HashSet<Arc<str>>,
    /// Watchers that were told of a change although there was no room.
    changed: HashSet<Token>,
    overflow: Overflow,
    notices: Vec<Notice>,
    /// Whether a wake-up is under way: one is enough for all that comes in until then.
    woken: bool,
}

/// Whether items are dropped for want of room. It is over, and may begin again, when all that waited is taken.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    #[default]
    No,
    Begun,
    Told,
}

impl Item {
    /// What it takes in memory.
    fn size(&self) -> usize {
        size_of::<Item>() + self.text_length()
    }

    fn text_length(&self) -> usize {
        match self {
            Item::Event {
                subscription, event, ..
            } => subscription.len() + event.len(),
            Item::Invalidate { subscription, .. } => subscription.len(),
            Item::Changed { .. } => 0,
        }
    }
}

impl Outbox {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            wake: Box::new(wake),
            handlers: AtomicUsize::new(0),
            watchers: AtomicUsize::new(0),
            source: Mutex::default(),
        })
    }

    pub fn source(&self) -> Option<Arc<Source>> {
        self.source.lock().clone()
    }

    pub fn set_source(&self, source: Option<Arc<Source>>) -> Option<Arc<Source>> {
        std::mem::replace(&mut *self.source.lock(), source)
    }

    /// Handlers or watchers have come or gone: what is subscribed follows.
    pub fn settle(&self) {
        if let Some(source) = self.source() {
            source.settle();
        }
    }

    /// False if there was no room. Then the subscription is invalidated instead.
    pub fn event(&self, handler: Token, subscription: &Arc<str>, event: &str, by_itself: bool) -> bool {
        let mut state = self.state.lock();
        let item = Item::Event {
            handler,
            subscription: subscription.clone(),
            event: event.into(),
        };
        let fits = state.fits(&item);
        if fits {
            state.push(item);
        } else {
            if state.overflow == Overflow::No {
                state.overflow = Overflow::Begun;
            }
            state.invalidate(handler, subscription, Reason::Overflow);
        }
        self.wake(state, by_itself);
        fits
    }

    pub fn changed(&self, watcher: Token) {
        let mut state = self.state.lock();
        let item = Item::Changed { watcher };
        if state.fits(&item) || state.changed.insert(watcher) {
            state.push(item);
        }
        self.wake(state, false);
    }

    pub fn invalidate(&self, subscriptions: &[(Token, Arc<str>)]) {
        let mut state = self.state.lock();
        for (handler, subscription) in subscriptions {
            state.invalidate(*handler, subscription, Reason::Gap);
        }
        self.wake(state, false);
    }

    pub fn notice(&self, notice: Notice) {
        let mut state = self.state.lock();
        state.notices.push(notice);
        self.wake(state, false);
    }

    /// A handler has another name from now on: what waits for it is the other's.
    pub fn rename(&self, before: Token, after: Token) {
        for item in &mut self.state.lock().items {
            match item {
                Item::Event { handler, .. } | Item::Invalidate { handler, .. } if *handler == before => {
                    *handler = after;
                }
                _ => {}
            }
        }
    }

    /// A handler has left. Gives the subscriptions that something waited for.
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

    /// The subscription has ended: what came for it is for nobody. Whether something had.
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
        let State {
            items,
            bytes,
            invalid,
            ..
        } = &mut *self.state.lock();
        items.retain(|item| {
            let dropped = drops(item);
            if dropped {
                *bytes -= item.size();
                if let Item::Invalidate { subscription, .. } = item {
                    invalid.remove(subscription);
                }
            }
            !dropped
        });
    }

    /// At most so many items, in order. While any are left whoever takes is to come again, and is not woken.
    pub fn take(&self, count: usize) -> Vec<Item> {
        let mut state = self.state.lock();
        let count = count.min(state.items.len());
        let taken: Vec<_> = state.items.drain(..count).collect();
        for item in &taken {
            state.bytes -= item.size();
            match item {
                Item::Invalidate { subscription, .. } => {
                    state.invalid.remove(subscription);
                }
                Item::Changed { watcher } => {
                    state.changed.remove(watcher);
                }
                Item::Event { .. } => {}
            }
        }
        state.woken = !state.items.is_empty();
        if !state.woken && state.overflow == Overflow::Told {
            state.overflow = Overflow::No;
        }
        taken
    }

    /// How many items wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().items.len()
    }

    pub fn take_notices(&self) -> Vec<Notice> {
        let mut state = self.state.lock();
        let mut notices = std::mem::take(&mut state.notices);
        if state.overflow == Overflow::Begun {
            state.overflow = if state.items.is_empty() {
                Overflow::No
            } else {
                Overflow::Told
            };
            notices.push(Notice::Overflow);
        }
        notices
    }

    /// `by_itself` if it is the thread's own call, which looks before it returns.
    fn wake(&self, mut state: parking_lot::MutexGuard<State>, by_itself: bool) {
        if !state.woken && !by_itself {
            state.woken = (self.wake)();
        }
    }

    pub fn demand(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.handlers), count(&self.watchers))
    }
}

impl State {
    fn fits(&self, item: &Item) -> bool {
        // One alone is taken whatever its size.
        self.items.is_empty() || (self.items.len() < MAX_MESSAGES && self.bytes + item.size() <= MAX_BYTES)
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.size();
        self.items.push_back(item);
    }

    /// There is always room for it: there are no more of them than subscriptions.
    fn invalidate(&mut self, handler: Token, subscription: &Arc<str>, reason: Reason) {
        if self.invalid.insert(subscription.clone()) {
            let subscription = subscription.clone();
            self.push(Item::Invalidate {
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

    #[test]
    fn what_does_not_fit_becomes_one_invalidation_of_each_subscription() {
        let outbox = Outbox::new(|| true);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for _ in 0..MAX_MESSAGES {
            assert!(outbox.event(1, &a, "{}", false));
        }
        for _ in 0..3 {
            assert!(!outbox.event(1, &a, "{}", false));
            assert!(!outbox.event(2, &b, "{}", false));
            outbox.changed(3);
        }
        assert!(matches!(outbox.take_notices()[..], [Notice::Overflow]));
        assert_eq!(outbox.take(MAX_MESSAGES).len(), MAX_MESSAGES);
        let invalidate = |handler, subscription: &Arc<str>| Item::Invalidate {
            handler,
            subscription: subscription.clone(),
            reason: Reason::Overflow,
        };
        let rest = outbox.take(MAX_MESSAGES);
        assert_eq!(
            rest,
            [invalidate(1, &a), invalidate(2, &b), Item::Changed { watcher: 3 }]
        );
        assert!(outbox.event(1, &a, "{}", false));
        assert!(outbox.take_notices().is_empty());
    }

    #[test]
    fn a_batch_is_bounded_and_until_the_rest_is_taken_nothing_wakes() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let outbox = Outbox::new(move || counter.fetch_add(1, Ordering::Relaxed) < usize::MAX);
        let a: Arc<str> = "a".into();
        for _ in 0..5 {
            outbox.event(1, &a, "{}", false);
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        // A wake-up by then would be met before the event loop turns, and the next one too: a flood stopped the loop for seconds.
        assert_eq!(outbox.take(3).len(), 3);
        outbox.event(1, &a, "{}", false);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(outbox.take(3).len(), 3);
        outbox.event(1, &a, "{}", false);
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_subscription_that_has_ended_gets_nothing_of_what_waits() {
        let outbox = Outbox::new(|| true);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        outbox.event(1, &a, "1", false);
        outbox.event(1, &b, "2", false);
        outbox.invalidate(&[(1, a.clone())]);
        outbox.forget("a");
        outbox.invalidate(&[(1, a.clone())]);
        let taken = outbox.take(9);
        assert!(
            matches!(&taken[..], [Item::Event { subscription, .. }, Item::Invalidate { .. }] if *subscription == b)
        );
    }
}
