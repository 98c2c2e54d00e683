//! Reads a connection less often on which much comes that nobody wants: a wake-up takes longer than a hundred such messages.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The longest time that a message waits to be read.
const PAUSE: Duration = Duration::from_millis(10);
/// So many unwanted messages within a pause are much.
const MUCH: usize = 100;

/// Counts unwanted messages.
#[derive(Default)]
pub struct Pace {
    since: Option<Instant>,
    unwanted: usize,
}

impl Pace {
    /// Whether reading is to pause after a read with so many unwanted messages, and whether that read emptied the socket.
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
