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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn those_who_ask_while_one_is_under_way_share_the_next() {
        let (shared, gate, runs) = (Coalesced::default(), Semaphore::new(0), AtomicU64::new(0));
        let ask = || {
            shared.share(async {
                runs.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
            })
        };
        let opened = async { gate.add_permits(2) };
        tokio::join!(biased; ask(), ask(), ask(), opened);
        assert_eq!(runs.into_inner(), 2);
    }

    #[tokio::test]
    async fn work_that_is_given_up_serves_nobody() {
        let (shared, runs) = (Coalesced::default(), AtomicU64::new(0));
        let given_up = async {
            tokio::select! {
                biased;
                () = shared.share(std::future::pending()) => {}
                () = tokio::task::yield_now() => {}
            }
        };
        let next = shared.share(async {
            runs.fetch_add(1, Ordering::Relaxed);
        });
        tokio::join!(biased; given_up, next);
        assert_eq!(runs.into_inner(), 1);
    }
}
