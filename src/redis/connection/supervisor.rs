//! Opens a connection, carries it, and opens the next one when it is lost, for as long as it is wanted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until};

use crate::error::{Error, Reason};
use crate::redis::config::Config;
use crate::redis::connection::connect::{Connector, Opened};
use crate::redis::connection::shared::Shared;
use crate::redis::connection::socket::{ReadAttempt, SocketSlot};
use crate::redis::connection::time_slice::LONGEST_READ;
use crate::redis::connection::transport::Transport;
use crate::redis::endpoint::Endpoint;
use crate::redis::jitter::jitter;
use crate::redis::pipeline::Machine;
use crate::redis::pipeline::in_flight::ServerRole;

/// The backoff before the first attempt to connect again; it doubles with each that fails.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// The longest pause before a batch of topics is subscribed.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that was open for less counts as a failed attempt, as far as the backoff goes.
const STABLE: Duration = Duration::from_secs(1);

pub struct Supervisor<M> {
    config: Arc<Config>,
    connector: Connector,
    shared: Arc<Shared<M>>,
    slot: Arc<SocketSlot>,
}

impl<M: Machine> Supervisor<M> {
    pub fn new(
        config: Arc<Config>,
        endpoint: Endpoint,
        shared: Arc<Shared<M>>,
        slot: Arc<SocketSlot>,
    ) -> Self {
        Self {
            connector: Connector::new(config.clone(), endpoint),
            config,
            shared,
            slot,
        }
    }

    pub async fn run(self) {
        // Whatever ends this, a panic too: no request is left without an answer.
        let _guard = EndGuard(&self.shared);
        let mut attempt = 0;
        while let Some(cause) = self.connect(&mut attempt).await {
            attempt += 1;
            let waited = self.back_off(attempt, cause);
            if self.while_wanted(waited).await.is_none() {
                return;
            }
        }
    }

    /// Tells that there will be another attempt, and waits until it is time for it.
    async fn back_off(&self, attempt: u32, cause: Error) {
        let delay = self
            .config
            .settings
            .retry_delay
            .unwrap_or_else(|| backoff(attempt));
        self.shared
            .with(|pipeline| pipeline.reconnecting(attempt, delay, cause));
        sleep(delay).await;
    }

    /// Opens and carries a connection, and those that replace it. Gives why there is none any more; nothing if none is wanted.
    async fn connect(&self, attempt: &mut u32) -> Option<Error> {
        self.shared.trace(|| "connecting");
        let mut opened = match self.while_wanted(self.connector.open()).await? {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => {
                self.shared
                    .with(|pipeline| pipeline.not_connected(&failure.error, failure.refused));
                return Some(failure.error);
            }
            Err(error) => return Some(error),
        };
        loop {
            let (mut transport, established) = opened;
            let since = Instant::now();
            self.shared.trace(|| format!("connected to {established}"));
            self.shared
                .with(|pipeline| pipeline.connected(established, since));
            let mut next = None;
            let carried = self.while_wanted(self.carry(&mut transport, &mut next)).await;
            let Some(Ok(cause) | Err(cause)) = carried else {
                if !self.shared.is_abandoned() {
                    transport.close().await;
                }
                self.shared.trace(|| "closed");
                return None;
            };
            self.shared.trace(|| format!("lost: {}", cause.message));
            self.shared
                .with(|pipeline| pipeline.lost(cause.clone(), Instant::now()));
            match next {
                Some(next) => opened = next,
                None => {
                    if since.elapsed() >= STABLE {
                        *attempt = 0;
                    }
                    return Some(cause);
                }
            }
        }
    }

    /// Carries a connection until it ends, also because there is a `next` one by then. Gives why it has ended.
    async fn carry(&self, transport: &mut Transport, next: &mut Option<Opened>) -> Error {
        let mut carried = pin!(transport.carry(&self.shared, &self.slot));
        let found = tokio::select! {
            cause = &mut carried => return cause,
            found = self.find_master() => found,
            never = self.send_batches() => match never {},
        };
        *next = Some(found);
        if self.shared.with(|pipeline| pipeline.retire()) {
            return carried.await;
        }
        Error::because(Reason::Replaced, "a master has taken its place")
    }

    /// Subscribes waiting topics a batch at a time, at random moments: other instances have lost the same server.
    async fn send_batches(&self) -> Infallible {
        loop {
            if self.shared.with(|pipeline| pipeline.has_batches()) {
                sleep(LONGEST_PAUSE.mul_f64(jitter())).await;
                self.shared.with(|pipeline| pipeline.send_batch(Instant::now()));
            } else {
                self.shared.batches.notified().await;
            }
        }
    }

    /// Looks for a master whenever the connection leads to a replica that will not do. Until there is one, reads go on.
    async fn find_master(&self) -> Opened {
        let mut attempt = 0;
        loop {
            let missing = self
                .shared
                .with(|pipeline| pipeline.misses_master().then(|| pipeline.at_replica()));
            let Some(cause) = missing else {
                self.shared.refused.notified().await;
                continue;
            };
            attempt += 1;
            self.back_off(attempt, cause).await;
            if let Ok(opened) = self.connector.open().await
                && opened.1.server.role != ServerRole::Replica
            {
                return opened;
            }
        }
    }

    /// Does the work and keeps deadlines meanwhile: an error if the server misses too many. Nothing once the connection is not wanted.
    async fn while_wanted<T>(&self, work: impl Future<Output = T>) -> Option<Result<T, Error>> {
        let unwanted = async {
            while !self.shared.is_abandoned() && !self.shared.with(|pipeline| pipeline.is_done()) {
                self.shared.ending.notified().await;
            }
        };
        tokio::select! {
            result = work => Some(Ok(result)),
            () = unwanted => None,
            frozen = self.keep_deadlines() => Some(Err(frozen)),
        }
    }

    /// Returns once the connection must be given up.
    async fn keep_deadlines(&self) -> Error {
        loop {
            while !self.catch_up() {
                yield_now().await;
            }
            match self.shared.with(|pipeline| pipeline.tick(Instant::now())) {
                Ok(next) => sleep_until(next.into()).await,
                Err(cause) => return cause,
            }
        }
    }

    /// Reads what lies in the socket, as JavaScript's thread may be busy for long. False if there may be more.
    fn catch_up(&self) -> bool {
        match self.slot.get() {
            Some(socket) if socket.may_read() => {
                socket.try_read(&self.shared, &mut vec![0; LONGEST_READ]) != ReadAttempt::Much
            }
            _ => true,
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

struct EndGuard<'a, M: Machine>(&'a Shared<M>);

impl<M: Machine> Drop for EndGuard<'_, M> {
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
