//! Deadlines of requests, and of a connection that is silent.

use std::time::{Duration, Instant};

use crate::error::{Error, Reason};
use crate::redis::pipeline::in_flight::InFlight;
use crate::redis::pipeline::{Machine, Pipeline, never_sent};
use crate::redis::request::{Fate, Request};

/// An idle connection gets a PING after this much silence.
const PING_AFTER: Duration = Duration::from_secs(10);
/// The shortest silence after which a server that owes a reply counts as frozen, however short the commands' timeout is.
const FROZEN: Duration = Duration::from_secs(1);

impl<M: Machine> Pipeline<M> {
    /// Fails requests past their deadlines, and checks the connection. Gives when to call it next: within one timeout, so that no request
    /// that is sent later is missed. One that waits may be due sooner. An error says why the connection must end.
    pub fn tick(&mut self, now: Instant) -> Result<Instant, Error> {
        self.expire(now);
        let timeout = self.limits.timeout;
        let mut next = now + timeout;
        if self.connection.is_some()
            && let Some(fault) = self.fault()
        {
            return Err(fault);
        }
        if let Some(connection) = &mut self.connection {
            let silent = now.saturating_duration_since(connection.silent_since);
            let has_in_flight = !connection.sent.is_empty();
            let limit = if has_in_flight {
                timeout.max(FROZEN)
            } else {
                PING_AFTER
            };
            if silent < limit {
                next = next.min(connection.silent_since + limit);
            } else if has_in_flight {
                let silent = silent.as_millis();
                let message = format!("{} has not answered anything for {silent} ms", self.peer());
                return Err(Error::because(Reason::Silent, message));
            } else {
                let ping = Request::repeatable(None, &[b"PING"], now);
                self.send([ping], now);
            }
        }
        let deadlines = [
            M::tick(self, now),
            self.connection.as_ref().and_then(InFlight::next_deadline),
            self.waiting.next_deadline(),
            self.waiting_for_master.next_deadline(),
        ];
        let next = deadlines.into_iter().flatten().fold(next, Instant::min);
        self.next_tick = Some(next);
        Ok(next)
    }

    /// Whether `tick` is to be called before the time that it gave: a request may come to wait here long after its call.
    pub fn must_tick_sooner(&self) -> bool {
        let deadlines = [
            self.waiting.next_deadline(),
            self.waiting_for_master.next_deadline(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        self.next_tick
            .zip(deadline)
            .is_some_and(|(tick, deadline)| deadline < tick)
    }

    /// Why the connection must end, if it retires or the machine says so.
    pub fn fault(&self) -> Option<Error> {
        self.retired().or_else(|| self.machine.fault(self.peer()))
    }

    fn expire(&mut self, now: Instant) {
        let (endpoint, timeout) = (self.peer().to_owned(), self.limits.timeout.as_millis());
        let mut missed = Vec::new();
        let sent = self
            .connection
            .as_mut()
            .map(|connection| connection.miss_deadlines(now));
        for request in sent.unwrap_or_default() {
            let doubt = if request.repeatable {
                ""
            } else {
                ": the command may have been run or not"
            };
            let message = format!("{endpoint} did not reply within {timeout} ms (commandTimeout){doubt}");
            missed.push((
                request,
                Fate::Unknown,
                Error::because(Reason::CommandTimeout, message),
            ));
        }
        while let Some(request) = self.waiting.pop_due(now) {
            let error = match &self.connection {
                Some(connection) if !connection.retiring => Error::because(
                    Reason::Behind,
                    format!(
                        "{endpoint} did not answer what was called before within {timeout} ms (commandTimeout), so that the command was not sent"
                    ),
                ),
                _ => self.not_sent("No connection to", &self.target, self.cause.as_ref()),
            };
            missed.push((request, Fate::NotRun, error));
        }
        while let Some(request) = self.waiting_for_master.pop_due(now) {
            let error = self.not_sent("No master at", self.peer(), Some(&self.at_replica()));
            missed.push((request, Fate::NotRun, error));
        }
        let is_late = self.latest.is_some_and(|latest| latest <= now);
        let at_replica = self.misses_master().then(|| self.at_replica());
        for (request, fate, error) in missed {
            let error = match fate {
                Fate::NotRun if is_late => {
                    let cause = self.cause.as_ref().or(at_replica.as_ref());
                    let cause = cause.map(|cause| format!(": {}", cause.message));
                    never_sent(&cause.unwrap_or_default())
                }
                _ => error,
            };
            self.fail(&request, fate, error);
        }
    }

    /// The error of a request that has waited for too long.
    fn not_sent(&self, what: &str, peer: &str, cause: Option<&Error>) -> Error {
        let milliseconds = self.limits.queue_timeout.as_millis();
        let cause = cause
            .map(|cause| format!(": {}", cause.message))
            .unwrap_or_default();
        let message = format!(
            "{what} {peer} within {milliseconds} ms (queueTimeout), so that the command was not run{cause}"
        );
        Error::because(Reason::QueueTimeout, message)
    }
}
