//! Opens a connection, carries it, and opens the next one when it is lost, for as long as it is wanted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::error::{Error, Reason};
use crate::redis::config::{Config, Target};
use crate::redis::connection::backoff::{backoff, jitter};
use crate::redis::connection::connect::Opened;
use crate::redis::connection::failure::Failure;
use crate::redis::connection::opener::{FOLLOWED, HANDOVER, Opener};
use crate::redis::connection::shared::Shared;
use crate::redis::connection::socket::{ReadAttempt, SocketSlot};
use crate::redis::connection::time_slice::LONGEST_READ;
use crate::redis::connection::transport::Transport;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::Machine;
use crate::redis::pipeline::in_flight::ServerRole;

/// Without a pause the events of failed attempts would pile up faster than they are told.
const SHORTEST_DELAY: Duration = Duration::from_millis(1);
/// The longest pause before a batch of topics is subscribed.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that was open for less counts as a failed attempt, as far as the backoff goes.
const STABLE: Duration = Duration::from_secs(1);

pub struct Supervisor<M> {
    config: Arc<Config>,
    opener: Opener,
    shared: Arc<Shared<M>>,
    slot: Arc<SocketSlot>,
}

impl<M: Machine> Supervisor<M> {
    pub fn new(
        config: Arc<Config>,
        target: &Target,
        runtime: &Runtime,
        shared: Arc<Shared<M>>,
        slot: Arc<SocketSlot>,
    ) -> Self {
        Self {
            opener: Opener::new(&config, target, runtime),
            config,
            shared,
            slot,
        }
    }

    pub async fn run(self) {
        // Whatever ends this, a panic too: no request is left without an answer.
        let _guard = PipelineEndGuard(&self.shared);
        let mut attempt = 0;
        while let Some(cause) = self.open_and_carry(&mut attempt).await {
            attempt += 1;
            let waited = self.back_off(attempt, cause);
            if self.while_wanted_and_alive(waited).await.is_none() {
                return;
            }
        }
    }

    /// Tells that there will be another attempt, and waits until it is time for it.
    async fn back_off(&self, attempt: u32, cause: Error) {
        let fixed = self.config.settings.retry_delay;
        let delay = fixed.map_or_else(|| backoff(attempt), |delay| delay.max(SHORTEST_DELAY));
        self.shared
            .with(|pipeline| pipeline.reconnecting(attempt, delay, cause));
        tokio::select! {
            () = sleep(delay) => {}
            () = self.opener.named_other() => {}
        }
    }

    async fn open(&self) -> Result<Opened, Failure> {
        let redirect = self.shared.with(|pipeline| pipeline.take_redirect());
        self.opener.open(redirect).await
    }

    /// Opens a connection, and carries it until it is lost; so too each one that replaces it. Returns the reason, or None when no
    /// connection is wanted, as the store is closed.
    async fn open_and_carry(&self, attempt: &mut u32) -> Option<Error> {
        self.shared.trace(|| "connecting");
        let mut opened = match self.while_wanted_and_alive(self.open()).await? {
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
            let endpoint = established.endpoint.clone();
            self.shared.trace(|| format!("connected to {established}"));
            let left_for = self.opener.left_master_for(&endpoint, since);
            self.shared.with(|pipeline| {
                if let Some(left_for) = left_for {
                    pipeline.widen_gap(left_for, since + FOLLOWED);
                }
                pipeline.connected(established, since);
            });
            let mut next = None;
            let carried = self.carry(&mut transport, &endpoint, &mut next);
            let carried = self.while_wanted_and_alive(carried).await;
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
    async fn carry(
        &self,
        transport: &mut Transport,
        endpoint: &Endpoint,
        next: &mut Option<Opened>,
    ) -> Error {
        let mut carried = pin!(transport.carry(&self.shared, &self.slot));
        let until = tokio::select! {
            cause = &mut carried => return cause,
            found = self.find_master() => {
                *next = Some(found);
                None
            }
            (found, until) = self.opener.follow(endpoint) => {
                if let Some((_, established)) = &found {
                    self.tell_move(endpoint, &established.endpoint);
                }
                *next = found;
                Some(until)
            }
            never = self.send_batches() => match never {},
        };
        self.hand_over(carried, until).await
    }

    /// Waits for what the connection owes, as another takes its place: until this moment at most.
    async fn hand_over(&self, carried: impl Future<Output = Error>, until: Option<Instant>) -> Error {
        let replaced = || Error::because(Reason::Replaced, "a master has taken its place");
        if !self.shared.with(|pipeline| pipeline.retire()) {
            return replaced();
        }
        let Some(until) = until else {
            return carried.await;
        };
        // A frozen master must not hold up what it was not sent. What it runs from now on is lost, as it is no master.
        let now = Instant::now();
        let silence = self.shared.with(|pipeline| pipeline.silence(now));
        let until = until.min(now + HANDOVER.saturating_sub(silence));
        let answered = timeout_at(until.into(), carried).await;
        answered.unwrap_or_else(|_| replaced())
    }

    fn tell_move(&self, from: &Endpoint, to: &Endpoint) {
        let cause = format!("{to} is the master in place of {from}");
        let cause = Error::because(Reason::Replaced, cause);
        self.shared
            .with(|pipeline| pipeline.reconnecting(1, Duration::ZERO, cause));
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
            if let Ok(opened) = self.open().await
                && opened.1.server.role != ServerRole::Replica
            {
                return opened;
            }
        }
    }

    /// Runs `work`. Stops with an error when the server is silent for too long, and with None when the connection is no longer wanted.
    async fn while_wanted_and_alive<T>(&self, work: impl Future<Output = T>) -> Option<Result<T, Error>> {
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
                Ok(next) => tokio::select! {
                    () = sleep_until(next.into()) => {}
                    () = self.shared.must_tick.notified() => {}
                },
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

struct PipelineEndGuard<'a, M: Machine>(&'a Shared<M>);

impl<M: Machine> Drop for PipelineEndGuard<'_, M> {
    fn drop(&mut self) {
        self.0.with(|pipeline| pipeline.end());
    }
}
