//! Random waits: clients that lost the same server do not come back all at once.

use std::time::Instant;

/// From 0 to 1. The hasher's keys are random; no more is asked of it.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now()) as f64 / u64::MAX as f64
}
