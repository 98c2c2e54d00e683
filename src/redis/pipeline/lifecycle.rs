//! Connected, lost, not connected, ended: what requests go through.

use std::mem;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Reason};
use crate::redis::completions::Event;
use crate::redis::config::Limits;
use crate::redis::endpoint::EndpointName;
use crate::redis::pipeline::in_flight::{Established, InFlight, Sent};
use crate::redis::pipeline::queue::{Queue, UnsentRequest};
use crate::redis::pipeline::{ATTEMPTS, Health, Machine, Pipeline, closed};
use crate::redis::request::{Fate, Id};

impl<M: Machine> Pipeline<M> {
    /// Answered once there is a connection, or when there will be none.
    pub fn connect(&mut self, id: Id) {
        match &self.connection {
            _ if self.ended => self.completed.failed(id, closed(Reason::Disconnected)),
            Some(_) => self.completed.done(id),
            None => self.connecting.push((id, 0)),
        }
    }

    pub fn connected(&mut self, established: Established, now: Instant) {
        let is_first = self.cause.take().is_none();
        // One that retired may have named it when another connection was there already.
        self.redirect = None;
        self.node = Some(established.endpoint.to_string().into());
        let ahead = M::connected(self, &established, is_first, now);
        self.connection = Some(InFlight::new(established, now));
        (self.since, self.failures) = (now, 0);
        for (id, _) in mem::take(&mut self.connecting) {
            self.connect(id);
        }
        let mut waiting = mem::take(&mut self.waiting);
        let waiting = std::iter::from_fn(|| waiting.pop()).map(|waiting| waiting.request);
        self.send(ahead.into_iter().chain(waiting), now);
    }

    /// Whether a connection to a master is to replace this one, which leads to a replica.
    pub fn misses_master(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| !connection.retiring) && self.machine.refuses_writes()
    }

    /// The reason for looking for a master.
    pub fn at_replica(&self) -> Error {
        Error::reply(format!("READONLY {} has become a replica", self.peer()))
    }

    /// Retires the connection: what it has begun to send is answered, and the rest waits for the next one. False if nothing is in flight.
    pub fn retire(&mut self) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        connection.retiring = true;
        let unsent = connection.take_unsent();
        let owes = !connection.sent.is_empty();
        let mut again = Queue::default();
        for sent in unsent.into_iter().filter(Sent::is_awaited) {
            // Its time for a connection begins once this one is lost.
            let until = sent.request.waits_until(self.limits.queue_timeout, self.latest);
            let until = sent.deadline.map_or(until, |deadline| until.max(deadline));
            again.push(sent.request, until);
        }
        self.put_ahead(again);
        owes
    }

    /// Requests that were sent, or should have been, wait for the next connection among all others.
    fn put_ahead(&mut self, mut again: Queue) {
        for queue in [&mut self.waiting_for_master, &mut self.waiting] {
            again.merge(mem::take(queue));
        }
        self.waiting = again;
    }

    /// For how long the server has owed a reply and sent nothing.
    pub fn silence(&self, now: Instant) -> Duration {
        let connection = self.connection.as_ref();
        let owing = connection.filter(|connection| !connection.sent.is_empty());
        owing.map_or(Duration::ZERO, |connection| {
            now.saturating_duration_since(connection.silent_since)
        })
    }

    /// An attempt to connect has failed, and another follows. Requests that have seen enough attempts fail; all do if the server
    /// `refused`.
    pub fn not_connected(&mut self, cause: &Error, refused: bool) {
        if cause.reason == Some(Reason::Cluster) {
            return self.completed.events.push(Event::ClusterFound);
        }
        let max_retries = self.limits.max_retries;
        for (id, mut failures) in mem::take(&mut self.connecting) {
            failures += 1;
            if refused || failures >= max_retries.unwrap_or(ATTEMPTS).max(1) {
                self.completed
                    .failed(id, self.no_connection(cause, refused, failures));
            } else {
                self.connecting.push((id, failures));
            }
        }
        let mut attempts = Vec::new();
        let given_up = self.waiting.take_if(|waiting| {
            waiting.attempts += 1;
            let gives_up = refused || max_retries.is_some_and(|most| waiting.attempts > most);
            attempts.extend(gives_up.then_some(waiting.attempts));
            gives_up
        });
        for (request, attempts) in given_up.iter().zip(attempts) {
            self.fail(
                request,
                Fate::NotRun,
                self.no_connection(cause, refused, attempts),
            );
        }
        M::disconnected(self, SystemTime::now());
        self.failures += 1;
        self.cause = Some(cause.clone());
    }

    fn no_connection(&self, cause: &Error, refused: bool, attempts: u32) -> Error {
        if refused {
            return cause.clone();
        }
        let attempts = if attempts == 1 {
            "1 attempt".to_owned()
        } else {
            format!("{attempts} attempts")
        };
        let message = format!(
            "No connection to {} after {attempts}: {}",
            self.target, cause.message
        );
        let reason = cause.reason.filter(|_| cause.code == "CONNECTION");
        Error::because(reason.unwrap_or(Reason::NotReady), message).caused_by(cause.clone())
    }

    /// The connection is lost. Requests that were not sent, or may be sent again, wait for the next one.
    pub fn lost(&mut self, cause: Error, now: Instant) {
        self.retire();
        let Some(connection) = self.connection.take() else {
            return;
        };
        let ago = now.saturating_duration_since(connection.gap_from);
        M::disconnected(self, SystemTime::now() - ago);
        let peer: EndpointName = self.peer().into();
        let mut again = Queue::default();
        let Limits { queue_timeout, .. } = self.limits;
        let sent = connection.sent.into_iter().enumerate();
        for (index, sent) in sent.filter(|(_, sent)| sent.is_awaited()) {
            let Sent { mut request, .. } = sent;
            let is_first = index == 0;
            if let Err(error) = self.machine.reply_lost(&mut request, is_first, &peer, &cause) {
                self.fail(&request, Fate::Unknown, error);
                continue;
            }
            let until = request.waits_until(queue_timeout, self.latest);
            again.push(request, until);
        }
        for queue in [&mut self.waiting_for_master, &mut self.waiting] {
            queue.wait_anew(|request| request.waits_until(queue_timeout, self.latest));
        }
        self.put_ahead(again);
        let is_obsolete = |waiting: &mut UnsentRequest| self.machine.is_obsolete(&waiting.request);
        for request in self.waiting.take_if(is_obsolete) {
            self.done(&request);
        }
        self.cause = Some(cause);
        (self.since, self.heard) = (now, Some(connection.received));
    }

    /// Messages may have gone to another server for this long, and may do so until a moment.
    pub fn widen_gap(&mut self, duration: Duration, until: Instant) {
        let node = self.node.clone();
        self.machine.widen_gap(SystemTime::now() - duration, node, until);
    }

    pub fn health(&self) -> Health {
        let connection = self.connection.as_ref();
        let is_well = connection.is_some() && !self.misses_master();
        Health {
            role: M::ROLE,
            is_ready: is_well,
            node: self.node.clone(),
            since: self.since,
            heard: connection.map(|connection| connection.received).or(self.heard),
            in_flight: connection.map_or(0, |connection| connection.sent.len()),
            waiting: self.waiting.len() + self.waiting_for_master.len() + self.connecting.len(),
            failures: self.failures,
            cause: if self.misses_master() {
                Some(self.at_replica())
            } else {
                self.cause.clone()
            },
        }
    }

    pub fn reconnecting(&mut self, attempt: u32, delay: Duration, cause: Error) {
        self.trace(|| {
            let delay = delay.as_millis();
            format!("attempt {attempt} follows in {delay} ms: {}", cause.message)
        });
        self.completed.events.push(Event::Reconnecting {
            role: M::ROLE,
            node: self.node.clone(),
            attempt,
            delay,
            cause,
        });
    }

    /// Answers `id` once all requests are answered. Requests that were not sent wait no longer than for a reply.
    pub fn close(&mut self, id: Id, now: Instant) {
        if self.ended {
            return self.completed.done(id);
        }
        self.closing = Some(id);
        self.wait_until(now + self.limits.timeout);
    }

    /// From now on no request waits for a connection longer than until `latest`, whenever it comes to wait.
    pub fn wait_until(&mut self, latest: Instant) {
        let latest = self.latest.map_or(latest, |before| before.min(latest));
        self.latest = Some(latest);
        for queue in [&mut self.waiting, &mut self.waiting_for_master] {
            queue.wait_until(latest);
        }
    }

    /// Whether it is closing, and no answer is awaited.
    pub fn is_done(&self) -> bool {
        self.closing.is_some()
            && self.waiting.is_empty()
            && self.waiting_for_master.is_empty()
            && self
                .connection
                .as_ref()
                .is_none_or(|connection| !connection.sent.iter().any(Sent::is_awaited))
    }

    /// There will be no other connection: fails all requests, and answers who closed it.
    pub fn end(&mut self) {
        self.ended = true;
        self.machine.ended();
        let sent = self.connection.take().map(|connection| connection.sent);
        let sent = sent.into_iter().flatten().filter(Sent::is_awaited);
        let sent = sent.map(|sent| (sent.request, Fate::Unknown, Reason::Unanswered));
        let unsent = [&mut self.waiting, &mut self.waiting_for_master];
        let unsent = unsent.map(|queue| queue.take_if(|_| true)).into_iter().flatten();
        let unsent = unsent.map(|request| (request, Fate::NotRun, Reason::Disconnected));
        for (request, fate, reason) in sent.chain(unsent).collect::<Vec<_>>() {
            self.fail(&request, fate, closed(reason));
        }
        for (id, _) in mem::take(&mut self.connecting) {
            self.completed.failed(id, closed(Reason::Disconnected));
        }
        if let Some(id) = self.closing.take() {
            self.completed.done(id);
        }
    }
}
