//! A moment in eight bytes, where an `Instant` takes sixteen: a request carries two, and its queue adds a third.

use std::num::NonZeroU64;
use std::ops::Add;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// In nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

/// The moment of `ORIGIN`. There are 146 years before it, and more behind.
const START: u64 = 1 << 62;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let nanos = match instant.checked_duration_since(*ORIGIN) {
            Some(later) => START.saturating_add(nanos(later)),
            None => START.saturating_sub(nanos(*ORIGIN - instant)),
        };
        Self(NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<Moment> for Instant {
    fn from(Moment(nanos): Moment) -> Self {
        match nanos.get().checked_sub(START) {
            Some(later) => *ORIGIN + Duration::from_nanos(later),
            None => *ORIGIN - Duration::from_nanos(START - nanos.get()),
        }
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_instant_that_it_was_made_of() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        for instant in [now, now + second, now - second] {
            assert_eq!(Instant::from(Moment::from(instant)), instant);
        }
        assert_eq!(Moment::from(now) + second, Moment::from(now + second));
        assert!(Moment::from(now) < Moment::from(now + Duration::from_nanos(1)));
        assert!(Moment::from(now) + Duration::MAX > Moment::from(now + second));
    }
}
