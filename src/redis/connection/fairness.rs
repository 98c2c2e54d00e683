//! Has a busy connection let the others have their turn: one thread carries them all, and keeps their deadlines.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// For so long a connection may work before the others do.
const SHARE: Duration = Duration::from_millis(1);

/// So much is read at once: what comes of it is done before anybody else has a turn.
pub const AT_ONCE: usize = 256 << 10;

/// What a connection has worked since the others had their turn.
#[derive(Default)]
pub struct Share(Duration);

impl Share {
    /// So many bytes were carried, and what came of them has been done since a time.
    pub async fn spend(&mut self, bytes: usize, since: Instant) {
        // To carry a byte takes about a nanosecond.
        self.0 += Duration::from_nanos(bytes as u64) + since.elapsed();
        if self.0 >= SHARE {
            self.0 = Duration::ZERO;
            yield_now().await;
        }
    }
}
