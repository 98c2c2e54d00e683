//! What waits for a JavaScript thread: a queue with bounds, and the queue of one subscriber's messages.

use std::collections::VecDeque;
use std::mem;
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};

pub const MAX_ITEMS: usize = 100_000;
pub const MAX_BYTES: usize = 64 << 20;

pub trait Measured {
    /// The size in memory, in bytes.
    fn size(&self) -> usize;
}

/// Its owner decides what becomes of an item that does not fit.
pub struct BoundedQueue<T> {
    items: VecDeque<T>,
    bytes: usize,
}

impl<T> Default for BoundedQueue<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T: Measured> BoundedQueue<T> {
    /// Whether an item is within the bounds. A single one is, whatever its size.
    pub fn fits(&self, item: &T) -> bool {
        self.items.is_empty() || (self.items.len() < MAX_ITEMS && self.bytes + item.size() <= MAX_BYTES)
    }

    /// Adds an item, also beyond the bounds.
    pub fn push(&mut self, item: T) {
        self.bytes += item.size();
        self.items.push_back(item);
    }

    /// Takes at most `count` items.
    pub fn take(&mut self, count: usize) -> VecDeque<T> {
        if self.items.len() <= count {
            return mem::take(self).items;
        }
        let taken: VecDeque<_> = self.items.drain(..count).collect();
        self.bytes -= bytes_of(&taken);
        taken
    }

    pub fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        self.items.retain(keeps);
        self.bytes = bytes_of(&self.items);
    }

    /// The changes must keep the sizes.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn into_items(self) -> VecDeque<T> {
        self.items
    }
}

fn bytes_of<T: Measured>(items: &VecDeque<T>) -> usize {
    items.iter().map(T::size).sum()
}

/// The longest text of V8, in bytes: 24 fewer than what Redis takes.
const LONGEST_TEXT: usize = (1 << 29) - 24;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The pattern that matched, or None for a subscription of the channel itself.
    pub pattern: Option<Bytes>,
    pub channel: Bytes,
    pub payload: Bytes,
}

impl Measured for Message {
    /// With the allocation of its text.
    fn size(&self) -> usize {
        const EACH: usize = size_of::<Message>() + 64;
        EACH + self.text_length()
    }
}

impl Message {
    fn text_length(&self) -> usize {
        let pattern = self.pattern.as_ref().map_or(0, Bytes::len);
        pattern + self.channel.len() + self.payload.len()
    }

    /// A copy whose text is an allocation of its own.
    pub fn copied(&self) -> Self {
        let mut text = BytesMut::with_capacity(self.text_length());
        let mut copy = |part: &Bytes| {
            text.put_slice(part);
            text.split().freeze()
        };
        Self {
            pattern: self.pattern.as_ref().map(&mut copy),
            channel: copy(&self.channel),
            payload: copy(&self.payload),
        }
    }
}

/// Messages in the order of their publication.
#[derive(Default)]
pub struct Backlog {
    messages: BoundedQueue<Message>,
    /// When nothing waited last: what is dropped came later.
    empty_at: Option<SystemTime>,
    overflowed: bool,
}

/// What follows the messages that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Messages that wait.
    Messages,
    Nothing,
    /// A gap, of messages that were dropped for want of room. They came after this moment, when nothing waited.
    Overflow(SystemTime),
}

impl Backlog {
    /// After a drop all later messages are dropped too, until the queue is empty: so one gap covers them.
    pub fn push(&mut self, message: Message) {
        let is_behind_dropped = self.overflowed && !self.messages.is_empty();
        if message.payload.len() > LONGEST_TEXT || is_behind_dropped || !self.messages.fits(&message) {
            self.overflowed = true;
            self.empty_at.get_or_insert_with(SystemTime::now);
        } else {
            self.messages.push(message);
        }
    }

    /// Messages were dropped that came after a moment, maybe before they got here.
    pub fn overflow(&mut self, since: SystemTime) {
        self.overflowed = true;
        self.empty_at.get_or_insert(since);
    }

    /// If nothing waits, what is dropped comes after this call.
    pub fn note_empty(&mut self) {
        if self.is_empty() {
            self.empty_at = Some(SystemTime::now());
        }
    }

    pub fn append(&mut self, later: Backlog) {
        if self.is_empty() {
            let empty_at = self.empty_at.or(later.empty_at);
            *self = Self { empty_at, ..later };
            return;
        }
        for message in later.messages.into_items() {
            self.push(message);
        }
        if later.overflowed {
            self.overflow(later.empty_at.unwrap_or_else(SystemTime::now));
        }
    }

    /// Copies the messages: a slice would keep its whole receive buffer alive, which the bounds do not count.
    pub fn detach(&mut self) {
        for message in self.messages.iter_mut() {
            *message = message.copied();
        }
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message waits, and none was dropped.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.overflowed
    }

    /// Drops the messages of a subscription that has ended: a new one of the same name must not get them.
    pub fn forget(&mut self, ended: impl Fn(&Message) -> bool) {
        self.messages.retain(|message| !ended(message));
    }

    /// At most so many messages, and what follows them.
    pub fn take(&mut self, count: usize) -> (VecDeque<Message>, Rest) {
        if self.messages.len() > count {
            return (self.messages.take(count), Rest::Messages);
        }
        let (messages, overflow) = mem::take(self).into_parts();
        self.note_empty();
        (messages, overflow.map_or(Rest::Nothing, Rest::Overflow))
    }

    /// The messages, and a moment before others came that were dropped for want of room.
    pub fn into_parts(self) -> (VecDeque<Message>, Option<SystemTime>) {
        let overflow = self.empty_at.filter(|_| self.overflowed);
        (self.messages.into_items(), overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: Bytes) -> Message {
        Message {
            pattern: None,
            channel: Bytes::from_static(b"c"),
            payload,
        }
    }

    /// Redis takes 24 bytes more than a string of JavaScript's: taken, it would throw at the delivery, and those behind it be lost untold.
    #[test]
    fn a_message_that_javascript_cannot_hold_is_dropped_and_told() {
        let mut backlog = Backlog::default();
        backlog.push(message(vec![0; LONGEST_TEXT + 1].into()));
        let (messages, rest) = backlog.take(1);
        assert!(messages.is_empty());
        assert!(matches!(rest, Rest::Overflow(_)));
    }

    #[test]
    fn what_is_lost_is_lost_until_all_is_taken_and_told_once() {
        // A subscriber that takes a little of a full backlog, again and again, must not be told of a gap each time.
        let mut backlog = Backlog::default();
        let push = |backlog: &mut Backlog, count| {
            for _ in 0..count {
                backlog.push(message(Bytes::new()));
            }
        };
        let before = SystemTime::now();
        backlog.note_empty();
        let after = SystemTime::now();
        push(&mut backlog, MAX_ITEMS + 1);
        let mut taken = 0;
        for _ in 0..MAX_ITEMS / 100 - 1 {
            let (messages, rest) = backlog.take(100);
            assert_eq!((messages.len(), rest), (100, Rest::Messages));
            taken += messages.len();
            push(&mut backlog, 1);
        }
        let (messages, rest) = backlog.take(100);
        assert_eq!(taken + messages.len(), MAX_ITEMS);
        assert!(
            matches!(rest, Rest::Overflow(since) if (before..=after).contains(&since)),
            "{rest:?}"
        );
        push(&mut backlog, 1);
        assert_eq!(backlog.take(100).1, Rest::Nothing);
    }

    // Behind messages of which it was not known since when they waited, the drop was told to nobody.
    #[test]
    fn what_was_dropped_before_it_is_appended_is_told() {
        let mut backlog = Backlog::default();
        backlog.push(message(Bytes::new()));
        let mut later = Backlog::default();
        later.note_empty();
        later.overflow(SystemTime::now());
        backlog.append(later);
        assert!(matches!(backlog.take(9).1, Rest::Overflow(_)));
    }

    #[test]
    fn a_message_that_waits_holds_nothing_but_itself() {
        // 19,114 messages of a byte, each the only one left of its receive buffer, hold 1.7 GB of "64 MB".
        let received = Bytes::from(vec![b'x'; 64 << 10]);
        let mut backlog = Backlog::default();
        backlog.push(message(received.slice(..1)));
        backlog.detach();
        assert!(received.is_unique());
        let (messages, _) = backlog.take(9);
        assert_eq!(messages, [message(Bytes::from_static(b"x"))]);
    }

    #[test]
    fn small_messages_are_counted_with_what_they_take() {
        assert!(message(Bytes::from_static(b"x")).size() > size_of::<Message>());
    }

    impl Measured for usize {
        fn size(&self) -> usize {
            *self
        }
    }

    // The bytes of items that are gone took room until all was taken: a queue that never ran empty dropped more and more.
    #[test]
    fn what_is_taken_or_dropped_gives_its_room_back() {
        let mut queue = BoundedQueue::default();
        for _ in 0..4 {
            queue.push(MAX_BYTES / 4);
        }
        assert!(!queue.fits(&1));
        assert_eq!(queue.take(1).len(), 1);
        assert!(queue.fits(&(MAX_BYTES / 4)));
        queue.push(MAX_BYTES / 4 - 1);
        queue.retain(|item| *item == MAX_BYTES / 4);
        assert!(queue.fits(&(MAX_BYTES / 4)) && !queue.fits(&(MAX_BYTES / 4 + 1)));
        assert_eq!(queue.take(9).len(), 3);
        assert_eq!(queue.bytes, 0);
    }
}
