//! Keeps a busy connection from holding up the others: one thread carries them all, and keeps their deadlines.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// After this much work a connection yields to the others.
const SLICE: Duration = Duration::from_millis(1);

/// The longest read: it is handled completely before another connection is served.
pub const LONGEST_READ: usize = 256 << 10;

/// How long a connection has worked since it yielded last.
#[derive(Default)]
pub struct TimeSlice(Duration);

impl TimeSlice {
    /// Counts bytes that were carried, and the time spent on them since a moment. Yields once the slice is used up.
    pub async fn spend(&mut self, bytes: usize, since: Instant) {
        // To carry a byte takes about a nanosecond.
        self.0 += Duration::from_nanos(bytes as u64) + since.elapsed();
        if self.0 >= SLICE {
            self.0 = Duration::ZERO;
            yield_now().await;
        }
    }
}
