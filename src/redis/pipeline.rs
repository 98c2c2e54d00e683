//! Requests from their call to their answer, whatever becomes of the connection. Does no I/O and is told the time (but for the bounds of
//! gaps): what carries the bytes tells it what happened, and takes what is to be sent.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::connection::{Connection, Greeted, Sent, Server};
use super::mailbox::{Event, Mail};
use super::request::{Asker, Id, Request, Shape, Subject, Subscription, Topic};
use super::resp;
use super::subscriptions::Subscriptions;
use crate::error::Error;

/// After so long without a word an idle connection is asked whether it is alive.
const IDLE: Duration = Duration::from_secs(10);
/// A server that owes a reply and says nothing for at least so long has frozen, however short the commands' timeout is.
const FROZEN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the call of a command to its answer.
    pub timeout: Duration,
    /// How many requests may wait for a connection.
    pub max_queue: usize,
    /// How many failed attempts to connect a waiting request outlives.
    pub max_retries: u32,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Commands,
    Subscriptions,
}

pub struct Pipeline {
    pub(super) role: Role,
    limits: Limits,
    /// Where the server is, as errors name it.
    pub(super) place: String,
    /// Requests that wait for a connection, or until the one that there is owes less, in the order of their calls.
    waiting: VecDeque<Request>,
    /// Those who wait for nothing but a connection, and how many attempts they have seen fail.
    connecting: Vec<(Id, u32)>,
    pub(super) connection: Option<Connection>,
    pub(super) subscriptions: Subscriptions,
    /// Why there is no connection.
    cause: Option<Error>,
    /// Who is to be told that nothing is left.
    closing: Option<Id>,
    /// There will be no connection any more.
    ended: bool,
    /// What has come of it all, for whoever called to take away.
    pub mail: Mail,
}

impl Pipeline {
    pub fn new(role: Role, limits: Limits, place: String) -> Self {
        Self {
            role,
            limits,
            place,
            waiting: VecDeque::new(),
            connecting: Vec::new(),
            connection: None,
            subscriptions: Subscriptions::default(),
            cause: None,
            closing: None,
            ended: false,
            mail: Mail::default(),
        }
    }

    /// Sends requests, or has them wait.
    pub fn send(&mut self, requests: impl IntoIterator<Item = Request>, now: Instant) {
        for request in requests {
            match &mut self.connection {
                _ if self.ended => self.fail(&request, closed()),
                Some(connection) if !connection.retiring => {
                    if self.waiting.is_empty() && connection.has_room() {
                        connection.push(request, now);
                    } else {
                        self.waiting.push_back(request);
                    }
                }
                _ if self.waiting.len() < self.limits.max_queue => self.waiting.push_back(request),
                _ => {
                    let message = format!(
                        "There is no connection to {}, and {} commands wait for one already (maxQueue)",
                        self.place, self.limits.max_queue
                    );
                    self.fail(&request, Error::ours("QUEUE_FULL", message));
                }
            }
        }
        if let Some(connection) = &mut self.connection {
            connection.write();
        }
    }

    /// Sends what waited until the server owes less.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if !connection.retiring && connection.has_much_room() {
            while connection.has_room()
                && let Some(request) = self.waiting.pop_front()
            {
                connection.push(request, now);
            }
        }
        connection.write();
    }

    /// Answered once there is a connection, or when there will be none.
    pub fn connect(&mut self, id: Id) {
        match &self.connection {
            _ if self.ended => self.mail.failed(id, closed()),
            Some(_) => self.mail.done(id),
            None => self.connecting.push((id, 0)),
        }
    }

    /// Answered once messages come.
    pub fn subscribe(&mut self, id: Id, topic: Topic, now: Instant) {
        if !self.subscriptions.want(&topic, id) {
            return self.mail.done(id);
        }
        let asker = Asker::Caller(id);
        let request = self.subscription(Subscription { topic, asker }, now);
        self.send([request], now);
    }

    /// Has a topic subscribed, on whichever connection there is. Only a server that refuses ends that, with an event.
    pub fn keep(&mut self, topic: &Topic, now: Instant) {
        if self.subscriptions.keep(topic) && self.connection.is_some() {
            let due = self.subscribe_due(now);
            self.send(due, now);
        }
    }

    fn subscribe_due(&mut self, now: Instant) -> Vec<Request> {
        let due = self.subscriptions.due();
        due.into_iter()
            .map(|subscription| self.subscription(subscription, now))
            .collect()
    }

    /// Who is at the other end, while there is a connection.
    pub fn server(&self) -> Option<&Server> {
        self.connection.as_ref().map(|connection| &connection.server)
    }

    /// Whether little is under way, and has been for a while.
    pub fn is_calm(&self, now: Instant) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|connection| connection.is_calm(now))
    }

    /// Whether more than a few replies are owed.
    pub fn is_crowded(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_crowded)
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether its messages come.
    pub fn is_live(&self, topic: &Topic) -> bool {
        self.subscriptions.is_live(topic)
    }

    /// Whether its messages come, or are to.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.subscriptions.has(topic)
    }

    pub fn unsubscribe(&mut self, id: Option<Id>, topic: &Topic, now: Instant) {
        self.subscriptions.remove(topic);
        let request = Request {
            subject: Subject::Unsubscription,
            ..self.request(id, &[topic.kind.unsubscribe(), &topic.name], now)
        };
        if self.connection.is_some() {
            return self.send([request], now);
        }
        // Nothing is subscribed without a connection, and what was to be is not wanted any more.
        for request in mem::take(&mut self.waiting) {
            if self.is_left(&request) {
                self.settle(&request);
            } else {
                self.waiting.push_back(request);
            }
        }
        self.settle(&request);
    }

    /// Whether it is to subscribe what nobody wants any more.
    fn is_left(&self, request: &Request) -> bool {
        match &request.subject {
            Subject::Subscription(subscription) => self.subscriptions.is_left(subscription),
            _ => false,
        }
    }

    /// Nothing more will be asked for; `id` is answered once all is answered.
    pub fn close(&mut self, id: Id) {
        if self.ended {
            self.mail.done(id);
        } else {
            self.closing = Some(id);
        }
    }

    /// Whether it is closing, and nobody waits for an answer.
    pub fn is_done(&self) -> bool {
        self.closing.is_some()
            && self.waiting.is_empty()
            && self
                .connection
                .as_ref()
                .is_none_or(|connection| !connection.sent.iter().any(Sent::is_awaited))
    }

    pub fn connected(&mut self, greeted: Greeted, now: Instant) {
        self.connection = Some(Connection::new(greeted, now));
        self.cause = None;
        if self.role == Role::Commands {
            self.mail.events.push(Event::Ready);
        }
        for (id, _) in mem::take(&mut self.connecting) {
            self.connect(id);
        }
        let due = self.subscribe_due(now);
        let waiting = mem::take(&mut self.waiting);
        self.send(due.into_iter().chain(waiting), now);
    }

    /// An attempt to connect failed; there will be another, but who has waited long enough is told. If the server `refused`, with an
    /// answer that will not change by itself, all are.
    pub fn not_connected(&mut self, cause: &Error, refused: bool) {
        let max_retries = self.limits.max_retries;
        for (id, mut failures) in mem::take(&mut self.connecting) {
            failures += 1;
            if refused || failures >= max_retries.max(1) {
                self.mail.failed(id, self.no_connection(cause, refused, failures));
            } else {
                self.connecting.push((id, failures));
            }
        }
        for mut request in mem::take(&mut self.waiting) {
            request.attempts += 1;
            if refused || request.attempts > max_retries {
                let error = self.no_connection(cause, refused, request.attempts);
                self.fail(&request, error);
            } else {
                self.waiting.push_back(request);
            }
        }
        self.subscriptions.lost(SystemTime::now(), &mut self.mail);
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
            self.place, cause.message
        );
        Error::ours("CONNECTION", message)
    }

    /// The connection is gone. What was not sent, or may be sent again, waits for the next one.
    pub fn lost(&mut self, cause: Error, now: Instant) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let silent = now.saturating_duration_since(connection.received);
        self.subscriptions
            .lost(SystemTime::now() - silent, &mut self.mail);
        let mut again = VecDeque::new();
        for Sent {
            request, position, ..
        } in connection.sent.into_iter().filter(Sent::is_awaited)
        {
            if matches!(request.subject, Subject::Unsubscription) || self.is_left(&request) {
                self.settle(&request);
            } else if request.repeatable || connection.outgoing.is_unsent(position) {
                again.push_back(request);
            } else {
                let message = format!(
                    "The connection to {} was lost before the reply came, so that the command may have been run or not: {}",
                    self.place, cause.message
                );
                self.fail(&request, Error::ours("CONNECTION", message));
            }
        }
        again.append(&mut self.waiting);
        again.make_contiguous().sort_by_key(|request| request.deadline);
        self.waiting = again;
        self.cause = Some(cause);
    }

    pub fn reconnecting(&mut self, attempt: u32, delay: Duration, cause: Error) {
        if self.role == Role::Commands {
            self.mail.events.push(Event::Reconnecting {
                attempt,
                delay,
                cause,
            });
        }
    }

    /// There will be no connection any more. Where it has closed as it should, nobody but who closed it waits to be told.
    pub fn end(&mut self) {
        self.ended = true;
        let sent = self.connection.take().map(|connection| connection.sent);
        let sent = sent.into_iter().flatten().filter(Sent::is_awaited);
        let sent = sent.map(|sent| sent.request);
        for request in sent.chain(mem::take(&mut self.waiting)) {
            self.fail(&request, closed());
        }
        for (id, _) in mem::take(&mut self.connecting) {
            self.mail.failed(id, closed());
        }
        if let Some(id) = self.closing.take() {
            self.mail.done(id);
        }
    }

    /// Fails what is past its deadline, and looks after the connection. Gives when to be called next: never later than the timeout
    /// from now, so that no request that is made in the meantime is missed; or why the connection must end.
    pub fn tick(&mut self, now: Instant) -> Result<Instant, Error> {
        self.expire(now);
        let Limits { timeout, .. } = self.limits;
        let mut next = now + timeout;
        if let Some(connection) = &mut self.connection {
            let silent = now.saturating_duration_since(connection.heard);
            let owed = !connection.sent.is_empty();
            let patience = if owed { timeout.max(FROZEN) } else { IDLE };
            if silent < patience {
                next = next.min(connection.heard + patience);
            } else if owed {
                let silent = silent.as_millis();
                let message = format!("{} has not answered anything for {silent} ms", self.place);
                return Err(Error::ours("CONNECTION", message));
            } else {
                let ping = self.request(None, &[b"PING"], now);
                self.send([ping], now);
            }
        }
        let sent = self.connection.as_ref().and_then(Connection::next_deadline);
        let waiting = self.waiting.front().map(|request| request.deadline);
        Ok([sent, waiting].into_iter().flatten().fold(next, Instant::min))
    }

    fn expire(&mut self, now: Instant) {
        let milliseconds = self.limits.timeout.as_millis();
        for request in self
            .connection
            .as_mut()
            .map(|connection| connection.miss_deadlines(now))
            .unwrap_or_default()
        {
            let doubt = if request.repeatable {
                ""
            } else {
                ": the command may have been run or not"
            };
            let message = format!("{} did not reply within {milliseconds} ms{doubt}", self.place);
            self.fail(&request, Error::ours("TIMEOUT", message));
        }
        while self
            .waiting
            .front()
            .is_some_and(|request| request.deadline <= now)
        {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            let cause = self
                .cause
                .as_ref()
                .map(|cause| format!(": {}", cause.message))
                .unwrap_or_default();
            let place = &self.place;
            let message = if self.connection.is_some() {
                format!(
                    "{place} did not answer what was called before within {milliseconds} ms, so that the command was not sent"
                )
            } else {
                format!(
                    "No connection to {place} within {milliseconds} ms, so that the command was not sent{cause}"
                )
            };
            self.fail(&request, Error::ours("TIMEOUT", message));
        }
    }

    /// Whether bytes are left that the transport must write, and does not yet.
    pub fn has_unsent(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| !connection.writing && !connection.outgoing.is_empty())
    }

    /// What the transport is to write next, in pieces.
    pub fn unsent(&mut self) -> Vec<Bytes> {
        let Some(connection) = &mut self.connection else {
            return Vec::new();
        };
        let next = connection.outgoing.next();
        connection.writing = !next.is_empty();
        next
    }

    /// The transport wrote so many of them.
    pub fn taken(&mut self, count: usize, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.outgoing.advance(count);
            // A server that reads is alive.
            connection.heard = now;
        }
    }

    /// Tells whoever asked for something of no result that it is done.
    pub(super) fn settle(&mut self, request: &Request) {
        if let Some(id) = request.id {
            self.mail.done(id);
        }
    }

    pub(super) fn fail(&mut self, request: &Request, error: Error) {
        if let Subject::Subscription(subscription) = &request.subject {
            self.subscriptions.failed(subscription);
        }
        if let Some(id) = request.id {
            self.mail.failed(id, error);
        }
    }

    fn request(&self, id: Option<Id>, words: &[&[u8]], now: Instant) -> Request {
        Request {
            id,
            bytes: resp::command(words).into(),
            replies: 1,
            repeatable: true,
            shape: Shape::AsIs,
            subject: Subject::Command,
            deadline: now + self.limits.timeout,
            attempts: 0,
        }
    }

    fn subscription(&self, subscription: Subscription, now: Instant) -> Request {
        let Subscription { topic, asker } = &subscription;
        let id = match asker {
            Asker::Caller(id) => Some(*id),
            Asker::Pipeline(_) => None,
        };
        let request = self.request(id, &[topic.kind.subscribe(), &topic.name], now);
        Request {
            subject: Subject::Subscription(Box::new(subscription)),
            ..request
        }
    }
}

fn closed() -> Error {
    Error::ours("CLOSED", "The connection was closed before there was an answer")
}
