//! Pub/sub between the stores that share a keyspace, in one thread or several.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::glob;
use crate::backlog::{Backlog, Message, Rest};
use crate::wake::WakeOnce;

/// The messages that wait for one subscriber, in the order of their publication.
pub struct Inbox {
    id: usize,
    /// Set by an owner that goes without unsubscribing, which takes a lock: a finalizer of the garbage collector must not wait.
    closed: AtomicBool,
    queue: Mutex<InboxQueue>,
}

struct InboxQueue {
    backlog: Backlog,
    /// Runs on the publisher's thread.
    wake: WakeOnce,
}

impl Inbox {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let inbox = Self {
            id,
            closed: AtomicBool::new(false),
            queue: Mutex::new(InboxQueue {
                backlog: Backlog::default(),
                wake: WakeOnce::new(wake),
            }),
        };
        inbox.clear();
        Arc::new(inbox)
    }

    /// At most so many messages, and what follows them. While more wait, the taker is to come again, and is not woken.
    pub fn take(&self, count: usize) -> (VecDeque<Message>, Rest) {
        let mut queue = self.queue.lock();
        let (messages, rest) = queue.backlog.take(count);
        queue.wake.taken(rest == Rest::Messages);
        (messages, rest)
    }

    /// The number of messages that wait.
    pub fn waiting(&self) -> usize {
        self.queue.lock().backlog.len()
    }

    /// Drops the messages that wait.
    pub fn clear(&self) {
        let mut queue = self.queue.lock();
        queue.backlog = Backlog::default();
        queue.backlog.note_empty();
        queue.wake.taken(false);
    }

    /// Ends all delivery. `Channels::remove` takes the subscriptions away.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.clear();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn push(&self, message: Message) {
        let mut queue = self.queue.lock();
        queue.backlog.push(message);
        queue.wake.wake();
    }
}

type Subscribers = Vec<Arc<Inbox>>;

#[derive(Default)]
pub struct Channels {
    channels: HashMap<Bytes, Subscribers, RandomState>,
    patterns: HashMap<Bytes, Subscribers, RandomState>,
}

impl Channels {
    pub fn subscribe(&mut self, channel: &[u8], inbox: &Arc<Inbox>) {
        join(&mut self.channels, channel, inbox);
    }

    pub fn psubscribe(&mut self, pattern: &[u8], inbox: &Arc<Inbox>) {
        join(&mut self.patterns, pattern, inbox);
    }

    pub fn unsubscribe(&mut self, channel: &[u8], inbox: &Inbox) {
        leave(&mut self.channels, channel, inbox);
        inbox
            .queue
            .lock()
            .backlog
            .forget(|message| message.pattern.is_none() && *message.channel == *channel);
    }

    pub fn punsubscribe(&mut self, pattern: &[u8], inbox: &Inbox) {
        leave(&mut self.patterns, pattern, inbox);
        inbox
            .queue
            .lock()
            .backlog
            .forget(|message| message.pattern.as_deref() == Some(pattern));
    }

    /// Ends all subscriptions of a subscriber, and of every closed one.
    pub fn remove(&mut self, inbox: &Inbox) {
        for subscriptions in [&mut self.channels, &mut self.patterns] {
            subscriptions.retain(|_, subscribers| {
                subscribers.retain(|other| other.id != inbox.id && !other.is_closed());
                !subscribers.is_empty()
            });
        }
    }

    /// Sends a message to all subscribers. Returns their number. As in Redis, a subscriber of both the channel and a matching
    /// pattern gets the message twice, and counts twice.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let direct = self
            .channels
            .get(channel)
            .into_iter()
            .flatten()
            .map(|inbox| (None, inbox));
        let matching = self
            .patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel));
        let by_pattern =
            matching.flat_map(|(pattern, inboxes)| inboxes.iter().map(move |inbox| (Some(pattern), inbox)));
        let mut message: Option<Message> = None;
        let mut receivers = 0;
        for (pattern, inbox) in direct.chain(by_pattern).filter(|(_, inbox)| !inbox.is_closed()) {
            let make = || Message {
                pattern: None,
                channel: Bytes::copy_from_slice(channel),
                payload: Bytes::copy_from_slice(payload),
            };
            let message = message.get_or_insert_with(make).clone();
            inbox.push(Message {
                pattern: pattern.cloned(),
                ..message
            });
            receivers += 1;
        }
        receivers
    }
}

fn join(subscriptions: &mut HashMap<Bytes, Subscribers, RandomState>, name: &[u8], inbox: &Arc<Inbox>) {
    let subscribers = subscriptions.entry(Bytes::copy_from_slice(name)).or_default();
    subscribers.retain(|other| !other.is_closed());
    if subscribers.iter().all(|other| other.id != inbox.id) {
        subscribers.push(inbox.clone());
    }
}

fn leave(subscriptions: &mut HashMap<Bytes, Subscribers, RandomState>, name: &[u8], inbox: &Inbox) {
    if let Some(subscribers) = subscriptions.get_mut(name) {
        subscribers.retain(|other| other.id != inbox.id);
        if subscribers.is_empty() {
            subscriptions.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::{MAX_BYTES, MAX_ITEMS};

    #[test]
    fn counts_and_delivers_as_redis_does() {
        let mut channels = Channels::default();
        let (a, b) = (Inbox::new(|| false), Inbox::new(|| false));
        channels.subscribe(b"news", &a);
        channels.subscribe(b"news", &a);
        channels.psubscribe(b"n*", &a);
        channels.subscribe(b"news", &b);
        assert_eq!(channels.publish(b"news", b"hello"), 3);
        assert_eq!(channels.publish(b"other", b"hello"), 0);
        let (messages, _) = a.take(9);
        let patterns: Vec<_> = messages
            .iter()
            .map(|message| message.pattern.as_deref())
            .collect();
        assert_eq!(patterns, [None, Some(&b"n*"[..])]);
        channels.remove(&a);
        assert_eq!(channels.publish(b"news", b"hello"), 1);
        channels.unsubscribe(b"news", &b);
        assert!(channels.channels.is_empty() && channels.patterns.is_empty());
    }

    #[test]
    fn a_subscriber_that_does_not_listen_is_told_what_it_lost() {
        let mut channels = Channels::default();
        let inbox = Inbox::new(|| false);
        channels.subscribe(b"c", &inbox);
        for _ in 0..MAX_ITEMS + 7 {
            channels.publish(b"c", b"x");
        }
        let (messages, rest) = inbox.take(MAX_ITEMS);
        assert_eq!(messages.len(), MAX_ITEMS);
        assert!(matches!(rest, Rest::Overflow(_)));
        channels.publish(b"c", b"y");
        assert_eq!(inbox.take(9).1, Rest::Nothing);
    }

    #[test]
    fn one_wake_up_is_enough_until_the_messages_are_taken() {
        // If every message wakes, a thread that is busy for long has millions of wake-ups to work off, and to hold.
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let inbox = Inbox::new(move || counter.fetch_add(1, Ordering::Relaxed) < usize::MAX);
        let mut channels = Channels::default();
        channels.subscribe(b"c", &inbox);
        for _ in 0..10 {
            channels.publish(b"c", b"x");
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        // Woken before the rest is taken, the thread is called a thousand times before its event loop turns.
        assert_eq!(inbox.take(9).1, Rest::Messages);
        channels.publish(b"c", b"x");
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.take(9).1, Rest::Nothing);
        channels.publish(b"c", b"x");
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_message_alone_is_taken_whatever_its_size() {
        let mut channels = Channels::default();
        let inbox = Inbox::new(|| false);
        channels.subscribe(b"c", &inbox);
        channels.publish(b"c", &vec![b'x'; MAX_BYTES + 1]);
        channels.publish(b"c", b"x");
        let (messages, rest) = inbox.take(9);
        assert_eq!(messages.len(), 1);
        assert!(matches!(rest, Rest::Overflow(_)));
    }

    #[test]
    fn a_new_subscription_does_not_get_what_came_for_the_one_before() {
        let mut channels = Channels::default();
        let inbox = Inbox::new(|| false);
        channels.subscribe(b"c", &inbox);
        channels.psubscribe(b"c*", &inbox);
        channels.publish(b"c", b"old");
        channels.unsubscribe(b"c", &inbox);
        channels.subscribe(b"c", &inbox);
        let (messages, _) = inbox.take(9);
        assert_eq!(
            messages
                .iter()
                .map(|message| message.pattern.is_some())
                .collect::<Vec<_>>(),
            [true]
        );
    }
}
