//! Work that many ask for, and that serves all who have asked before it begins.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

#[derive(Default)]
pub struct Coalesced {
    begun: AtomicU64,
    /// The number of the last that ended. Locked while one is under way.
    ended: Mutex<u64>,
}

impl Coalesced {
    /// Returns once work has ended that began after this call: this one, or another's that came first.
    pub async fn share(&self, work: impl Future<Output = ()>) {
        let before = self.begun.load(Ordering::Relaxed);
        let mut ended = self.ended.lock().await;
        if *ended > before {
            return;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        work.await;
        *ended = number;
    }
}
