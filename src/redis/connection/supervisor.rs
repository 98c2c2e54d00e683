//! Opens a connection, carries it, and opens the next one when it is lost, for as long as it is wanted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until};

use crate::error::{Error, Reason};
use crate::redis::connection::connect::{self, Failure, Opened};
use crate::redis::connection::shared::Link;
use crate::redis::connection::transport::Transport;
use crate::redis::pipeline::in_flight::ServerRole;

/// The wait before the first attempt to connect again; it doubles with each that fails.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Before a batch of topics is subscribed.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that held for less counts as an attempt that failed, as far as waiting goes.
const HELD: Duration = Duration::from_secs(1);

pub async fn supervise(link: Arc<Link>) {
    // Whatever ends this, a defect of ours too: nobody is left waiting.
    let _guard = Ended(&link);
    let mut attempt = 0;
    while let Some(cause) = open(&link, &mut attempt).await {
        attempt += 1;
        let waited = wait(&link, attempt, cause);
        if while_wanted(&link, waited).await.is_none() {
            return;
        }
    }
}

/// Tells that there will be another attempt, and waits until it is time for it.
async fn wait(link: &Link, attempt: u32, cause: Error) {
    let delay = link.config.retry_delay.unwrap_or_else(|| backoff(attempt));
    link.with(|pipeline| pipeline.reconnecting(attempt, delay, cause));
    sleep(delay).await;
}

/// One connection, or an attempt at it, and those that take its place. Why there is none any more; nothing if none is wanted.
async fn open(link: &Link, attempt: &mut u32) -> Option<Error> {
    let opened = while_wanted(link, connect::open(&link.config, &link.manners)).await?;
    let mut opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(Failure { error, refused, .. })) => {
            link.with(|pipeline| pipeline.not_connected(&error, refused));
            return Some(error);
        }
        Err(error) => return Some(error),
    };
    loop {
        let (mut transport, greeted) = opened;
        let since = Instant::now();
        link.with(|pipeline| pipeline.connected(greeted, since));
        let mut next = None;
        let carried = while_wanted(link, carry(link, &mut transport, &mut next)).await;
        let Some(Ok(cause) | Err(cause)) = carried else {
            if !link.is_abandoned() {
                transport.close().await;
            }
            return None;
        };
        link.with(|pipeline| pipeline.lost(cause.clone(), Instant::now()));
        match next {
            Some(next) => opened = next,
            None => {
                if since.elapsed() >= HELD {
                    *attempt = 0;
                }
                return Some(cause);
            }
        }
    }
}

/// Carries a connection until it ends, also because there is a `next` one by then. Why it has ended.
async fn carry(link: &Link, transport: &mut Transport, next: &mut Option<Opened>) -> Error {
    let mut carried = pin!(transport.carry(link));
    let found = tokio::select! {
        cause = &mut carried => return cause,
        found = find_master(link) => found,
        never = subscribe_in_turn(link) => match never {},
    };
    *next = Some(found);
    if link.with(|pipeline| pipeline.retire()) {
        return carried.await;
    }
    Error::because(Reason::Replaced, "a master has taken its place")
}

/// Subscribes what waits for its turn, a batch at a time and not with other instances.
async fn subscribe_in_turn(link: &Link) -> Infallible {
    loop {
        if link.with(|pipeline| pipeline.has_turns()) {
            sleep(LONGEST_PAUSE.mul_f64(jitter())).await;
            link.with(|pipeline| pipeline.take_turn(Instant::now()));
        } else {
            link.turns.notified().await;
        }
    }
}

/// Looks for a master whenever the connection leads to a replica that is to be none. Until there is one, reads go on.
async fn find_master(link: &Link) -> Opened {
    let mut attempt = 0;
    loop {
        let missing = link.with(|pipeline| pipeline.misses_master().then(|| pipeline.at_replica()));
        let Some(cause) = missing else {
            link.refused.notified().await;
            continue;
        };
        attempt += 1;
        wait(link, attempt, cause).await;
        if let Ok(opened) = connect::open(&link.config, &link.manners).await
            && opened.1.server.role != ServerRole::Replica
        {
            return opened;
        }
    }
}

/// Does what is to be done while deadlines are kept: an error if the server misses too many. Nothing if the link is not wanted any more.
async fn while_wanted<T>(link: &Link, work: impl Future<Output = T>) -> Option<Result<T, Error>> {
    let unwanted = async {
        while !link.is_abandoned() && !link.with(|pipeline| pipeline.is_done()) {
            link.ending.notified().await;
        }
    };
    tokio::select! {
        result = work => Some(Ok(result)),
        () = unwanted => None,
        frozen = keep_deadlines(link) => Some(Err(frozen)),
    }
}

/// Returns once the connection must be given up.
async fn keep_deadlines(link: &Link) -> Error {
    loop {
        while !link.catch_up() {
            yield_now().await;
        }
        match link.with(|pipeline| pipeline.tick(Instant::now())) {
            Ok(next) => sleep_until(next.into()).await,
            Err(cause) => return cause,
        }
    }
}

/// With jitter: clients that lost the same server do not come back all at once.
fn backoff(attempt: u32) -> Duration {
    let longest = FIRST_DELAY
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(LONGEST_DELAY);
    longest.mul_f64(0.5 + jitter() / 2.0)
}

/// From 0 to 1. The hasher's keys are random; no more is asked of it.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now()) as f64 / u64::MAX as f64
}

struct Ended<'a>(&'a Link);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.with(|pipeline| pipeline.end());
    }
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
