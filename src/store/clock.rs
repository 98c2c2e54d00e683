//! The clock of a store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Default)]
pub struct Clock {
    /// A test's clock in place of the system's, in milliseconds since the epoch.
    faked: Option<u64>,
    /// The time of this turn, read once: in a MULTI or a script time stands still, as in Redis.
    now: Option<u64>,
    /// The same in microseconds, for TIME.
    micros: Option<u64>,
    /// The last value of `micros`.
    last_micros: u64,
}

impl Clock {
    #[inline]
    pub fn begin_turn(&mut self) {
        self.now = None;
        self.micros = None;
    }

    /// True if this is another clock, or shows another time, than before.
    #[inline]
    pub fn set(&mut self, faked: Option<u64>) -> bool {
        std::mem::replace(&mut self.faked, faked) != faked
    }

    /// Milliseconds since the epoch.
    #[inline]
    pub fn now(&mut self) -> u64 {
        let clock = || self.faked.unwrap_or_else(|| since_epoch().as_millis() as u64);
        *self.now.get_or_insert_with(clock)
    }

    /// Microseconds since the epoch, different in each turn: scripts make members of sets of them.
    pub fn unique_micros(&mut self) -> u64 {
        if let Some(micros) = self.micros {
            return micros;
        }
        let clock = self.faked.map(|faked| faked.saturating_mul(1000));
        let clock = clock.unwrap_or_else(|| since_epoch().as_micros() as u64);
        // A clock that was set back by more than this is followed.
        const STEP_BACK: u64 = 10_000;
        let is_just_before = clock <= self.last_micros && self.last_micros - clock < STEP_BACK;
        self.last_micros = if is_just_before {
            self.last_micros + 1
        } else {
            clock
        };
        self.micros = Some(self.last_micros);
        self.last_micros
    }
}

fn since_epoch() -> Duration {
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
