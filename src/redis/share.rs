//! Has a busy connection let the others have their turn: one thread carries them all, and keeps their deadlines.

use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep;

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

/// So long a message may wait while so many that nobody wants come in that time.
const PAUSE: Duration = Duration::from_millis(10);
const MUCH: usize = 100;

/// Has a connection on which much comes that nobody wants read less often: a wake-up takes longer than a hundred such messages.
#[derive(Default)]
pub struct Pace {
    /// When messages began to be counted.
    since: Option<Instant>,
    unwanted: usize,
}

impl Pace {
    /// Whether reading is to pause. So many messages that nobody wanted were read at a time, and whether that was all that there was.
    pub fn pauses(&mut self, unwanted: usize, is_all: bool, now: Instant) -> bool {
        if unwanted == 0 {
            return false;
        }
        if self.since.is_none_or(|since| now - since > PAUSE) {
            *self = Self {
                since: Some(now),
                unwanted: 0,
            };
        }
        self.unwanted += unwanted;
        is_all && self.unwanted >= MUCH
    }
}

pub async fn pause() {
    sleep(PAUSE).await;
}
