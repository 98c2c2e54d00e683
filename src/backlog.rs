//! Messages that wait for their subscriber's JavaScript thread.

use std::collections::VecDeque;

use bytes::Bytes;

/// Past these a subscriber that does not take its messages loses the newest, and is told how many.
pub const MAX_MESSAGES: usize = 100_000;
pub const MAX_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The pattern it came by, or none for a subscription of the channel itself.
    pub pattern: Option<Bytes>,
    pub channel: Bytes,
    pub payload: Bytes,
}

impl Message {
    fn size(&self) -> usize {
        self.channel.len() + self.payload.len()
    }
}

/// In the order of their publication.
#[derive(Default)]
pub struct Backlog {
    messages: VecDeque<Message>,
    bytes: usize,
    dropped: usize,
}

impl Backlog {
    pub fn push(&mut self, message: Message) {
        let size = message.size();
        // A message alone is taken whatever its size.
        let full = self.messages.len() == MAX_MESSAGES || self.bytes + size > MAX_BYTES;
        if full && !self.messages.is_empty() {
            self.dropped += 1;
        } else {
            self.bytes += size;
            self.messages.push_back(message);
        }
    }

    /// So many messages did not get here for want of room.
    pub fn drop_more(&mut self, count: usize) {
        self.dropped += count;
    }

    pub fn append(&mut self, later: Backlog) {
        if self.is_empty() {
            *self = later;
            return;
        }
        self.dropped += later.dropped;
        for message in later.messages {
            self.push(message);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.dropped == 0
    }

    /// Drops what came for a subscription that has ended: a later one of the same name must not get it.
    pub fn forget(&mut self, ended: impl Fn(&Message) -> bool) {
        self.messages.retain(|message| !ended(message));
        self.bytes = self.messages.iter().map(Message::size).sum();
    }

    /// The messages, and how many were dropped for want of room.
    pub fn into_parts(self) -> (VecDeque<Message>, usize) {
        (self.messages, self.dropped)
    }
}
