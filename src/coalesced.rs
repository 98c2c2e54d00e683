//! Work that many ask for, and whose outcome serves all who have asked before it began.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

pub struct Coalesced<T> {
    begun: AtomicU64,
    /// The number and the outcome of the last that ended. Locked while one is under way.
    ended: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Coalesced<T> {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: Mutex::new(None),
        }
    }
}

impl<T: Clone> Coalesced<T> {
    /// The outcome of work that began after this call: of this one, or of another's that came first.
    pub async fn share(&self, work: impl Future<Output = T>) -> T {
        let before = self.begun.load(Ordering::Relaxed);
        let mut ended = self.ended.lock().await;
        if let Some((number, outcome)) = &*ended
            && *number > before
        {
            return outcome.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let outcome = work.await;
        *ended = Some((number, outcome.clone()));
        outcome
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
                let run = runs.fetch_add(1, Ordering::Relaxed) + 1;
                gate.acquire().await.unwrap().forget();
                run
            })
        };
        let opened = async { gate.add_permits(2) };
        let outcomes = tokio::join!(biased; ask(), ask(), ask(), opened);
        assert_eq!(outcomes, (1, 2, 2, ()));
    }

    #[tokio::test]
    async fn work_that_is_given_up_serves_nobody() {
        let shared = Coalesced::default();
        let given_up = shared.share(std::future::pending());
        let next = async {
            tokio::task::yield_now().await;
            shared.share(async { 2 }).await
        };
        let both = async {
            tokio::select! { biased; run = given_up => run, () = tokio::task::yield_now() => 0 }
        };
        assert_eq!(tokio::join!(biased; both, next), (0, 2));
    }
}
