//! How long to wait before the next attempt to connect.

use std::time::{Duration, Instant};

/// The backoff before the first attempt to connect again; it doubles with each that fails.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// With jitter: clients that lost the same server do not come back all at once.
pub fn backoff(attempt: u32) -> Duration {
    let longest = FIRST_DELAY
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(LONGEST_DELAY);
    longest.mul_f64(0.5 + jitter() / 2.0)
}

/// A random number from 0 to 1, as each new hasher has random keys.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_50_ms_to_2_s() {
        for attempt in 1..100 {
            let delay = backoff(attempt).as_millis();
            let longest = 50_u128.saturating_mul(1 << (attempt - 1).min(16)).min(2_000);
            assert!((longest / 2..=longest).contains(&delay), "{attempt}: {delay}");
        }
    }
}
