//! Reads less often while many unwanted messages come in: a wake-up takes longer than a hundred of them.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The longest time that a message waits to be read.
const PAUSE: Duration = Duration::from_millis(15);
/// This many unwanted messages within a pause make the next pause.
const MANY: usize = 150;

/// Counts unwanted messages.
#[derive(Default)]
pub struct Pace {
    since: Option<Instant>,
    unwanted: usize,
}

impl Pace {
    /// Whether to pause after a read with this many unwanted messages. `is_all` if the read emptied the socket.
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
        is_all && self.unwanted >= MANY
    }
}

pub async fn pause() {
    sleep(PAUSE).await;
}
