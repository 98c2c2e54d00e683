//! How many requests may be in flight, by the length of their replies.

use std::time::Duration;

/// The window in bytes of replies, or what 8 Gbit/s carry in a round trip. Requests beyond it wait: a server that owes more keeps all of it in
/// memory, and takes four times as long for each (docs/design/redis-connection.md, "Long values").
const WINDOW: usize = 2 << 20;
const LARGEST_WINDOW: usize = 32 << 20;
/// The window has room for this many requests, however long their replies are.
const MIN_REQUESTS: usize = 4;

/// The window of one connection.
#[derive(Default)]
pub struct Window {
    /// How many bytes of replies may be in flight.
    bytes: usize,
    /// The length of a reply, averaged over the last few.
    reply_length: usize,
}

impl Window {
    pub fn new(round_trip: Duration) -> Self {
        Self {
            bytes: usize::try_from(round_trip.as_nanos())
                .map_or(LARGEST_WINDOW, |bytes| bytes.clamp(WINDOW, LARGEST_WINDOW)),
            reply_length: 0,
        }
    }

    /// Counts the length of a reply, and gives how many such replies the window holds. A huge reply says little of the next.
    pub fn measure(&mut self, length: usize) -> usize {
        self.reply_length = (7 * self.reply_length + length.min(self.bytes / MIN_REQUESTS)) / 8;
        self.bytes / self.reply_length.max(1)
    }
}
