//! The queue of messages for the JavaScript thread of one subscriber.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// Beyond these bounds new messages are dropped and counted, until the subscriber has taken all.
pub const MAX_MESSAGES: usize = 100_000;
pub const MAX_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The pattern that matched, or None for a subscription of the channel itself.
    pub pattern: Option<Bytes>,
    pub channel: Bytes,
    pub payload: Bytes,
}

impl Message {
    /// Its size in memory, with the allocation of its text.
    fn size(&self) -> usize {
        const EACH: usize = size_of::<Message>() + 64;
        EACH + self.text_length()
    }

    fn text_length(&self) -> usize {
        let pattern = self.pattern.as_ref().map_or(0, Bytes::len);
        pattern + self.channel.len() + self.payload.len()
    }

    /// A copy whose text is an allocation of its own.
    fn copied(&self) -> Self {
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
    messages: VecDeque<Message>,
    bytes: usize,
    dropped: usize,
}

impl Backlog {
    /// After a drop all later messages are dropped too, until the queue is empty: so one gap covers them.
    pub fn push(&mut self, message: Message) {
        let size = message.size();
        let full = self.messages.len() == MAX_MESSAGES || self.bytes + size > MAX_BYTES;
        // An empty queue takes a message of any size.
        if (full || self.dropped > 0) && !self.messages.is_empty() {
            self.dropped += 1;
        } else {
            self.bytes += size;
            self.messages.push_back(message);
        }
    }

    /// Counts messages that were dropped before they reached the queue.
    pub fn drop_more(&mut self, count: usize) {
        self.dropped += count;
    }

    pub fn append(&mut self, later: Backlog) {
        if self.is_empty() {
            *self = later;
            return;
        }
        for message in later.messages {
            self.push(message);
        }
        self.dropped += later.dropped;
    }

    /// Copies the messages: a slice would keep its whole receive buffer alive, which the bounds do not count.
    pub fn detach(&mut self) {
        for message in &mut self.messages {
            *message = message.copied();
        }
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message waits, and none was dropped.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.dropped == 0
    }

    /// Drops the messages of a subscription that has ended: a new one of the same name must not get them.
    pub fn forget(&mut self, ended: impl Fn(&Message) -> bool) {
        self.messages.retain(|message| !ended(message));
        self.bytes = self.messages.iter().map(Message::size).sum();
    }

    /// Takes at most `count` messages. Once none are left, the second value is the number that was dropped.
    pub fn take(&mut self, count: usize) -> (VecDeque<Message>, Option<usize>) {
        if self.messages.len() <= count {
            let (messages, dropped) = std::mem::take(self).into_parts();
            return (messages, Some(dropped));
        }
        let taken: VecDeque<_> = self.messages.drain(..count).collect();
        self.bytes -= taken.iter().map(Message::size).sum::<usize>();
        (taken, None)
    }

    /// The messages, and the number that was dropped.
    pub fn into_parts(self) -> (VecDeque<Message>, usize) {
        (self.messages, self.dropped)
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

    #[test]
    fn what_is_lost_is_lost_until_all_is_taken_and_told_once() {
        // A subscriber that took a little of a full backlog, again and again, was told of a gap each time.
        let mut backlog = Backlog::default();
        let push = |backlog: &mut Backlog, count| {
            for _ in 0..count {
                backlog.push(message(Bytes::new()));
            }
        };
        push(&mut backlog, MAX_MESSAGES + 1);
        let mut taken = 0;
        for _ in 0..MAX_MESSAGES / 100 - 1 {
            let (messages, dropped) = backlog.take(100);
            assert_eq!((messages.len(), dropped), (100, None));
            taken += messages.len();
            push(&mut backlog, 1);
        }
        let (messages, dropped) = backlog.take(100);
        assert_eq!(taken + messages.len(), MAX_MESSAGES);
        assert_eq!(dropped, Some(MAX_MESSAGES / 100));
        push(&mut backlog, 1);
        assert_eq!(backlog.take(100).1, Some(0));
    }

    #[test]
    fn a_message_that_waits_holds_nothing_but_itself() {
        // 19,114 messages of a byte, each the only one left of what it was received with, held 1.7 GB of "64 MB".
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
        let mut backlog = Backlog::default();
        backlog.push(message(Bytes::from_static(b"x")));
        assert!(backlog.bytes > size_of::<Message>());
        backlog.take(9);
        assert_eq!(backlog.bytes, 0);
    }
}
