//! Requests from their call to their answer, whatever becomes of the connection. Does no I/O and is told the time (but for the bounds of
//! gaps): what carries the bytes tells it what happened, and takes what is to be sent.

mod deadlines;
pub mod in_flight;
mod queue;
mod read;
mod write_buffer;

use std::mem;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::error::{Error, Reason};
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::config::Limits;
use crate::redis::pipeline::in_flight::{Established, InFlight, Sent, Server, ServerRole};
use crate::redis::pipeline::queue::{Queue, Waiting};
use crate::redis::protocol::encode;
use crate::redis::request::{Asker, Fate, Id, Request, Role, Shape, Subject, Subscription, Topic};
use crate::redis::subscriptions::{Priority, Subscriptions};

/// How a connection does.
pub struct Health {
    pub is_ready: bool,
    /// Since when it is there, or not.
    pub since: Instant,
    /// When the server last sent anything.
    pub heard: Option<Instant>,
    /// Requests that the server owes a reply to.
    pub in_flight: usize,
    /// Requests that wait to be sent.
    pub waiting: usize,
    /// How many attempts have failed since.
    pub attempt: u32,
    /// Why it is not there.
    pub cause: Option<Error>,
}

/// After so many failed attempts whoever waits for nothing but the connection is told.
const ATTEMPTS: u32 = 3;

pub struct Pipeline {
    pub(super) role: Role,
    pub(super) limits: Limits,
    /// Where the server is, as errors name it.
    pub(super) endpoint: String,
    /// Requests that wait for a connection, or until the one that there is owes less.
    pub(super) waiting: Queue,
    /// Writes that wait for a master while the connection leads to a replica.
    pub(super) waiting_for_master: Queue,
    /// The store was at a master once: a replica will not do for its writes.
    pub(super) wants_master: bool,
    /// Those who wait for nothing but a connection, and how many attempts they have seen fail.
    connecting: Vec<(Id, u32)>,
    pub(super) connection: Option<InFlight>,
    pub(super) subscriptions: Subscriptions,
    /// Why there is no connection.
    pub(super) cause: Option<Error>,
    /// Since when there is one, or none.
    since: Instant,
    /// How many attempts to connect have failed since.
    attempt: u32,
    /// When a connection that is gone was last heard.
    heard: Option<Instant>,
    /// Who is to be told that nothing is left.
    closing: Option<Id>,
    /// There will be no connection any more.
    ended: bool,
    /// What has come of it all, for whoever called to take away.
    pub completed: CompletionBatch,
}

impl Pipeline {
    pub fn new(role: Role, limits: Limits, endpoint: String) -> Self {
        Self {
            role,
            limits,
            endpoint,
            waiting: Queue::default(),
            waiting_for_master: Queue::default(),
            wants_master: false,
            connecting: Vec::new(),
            connection: None,
            subscriptions: Subscriptions::default(),
            cause: None,
            since: Instant::now(),
            attempt: 0,
            heard: None,
            closing: None,
            ended: false,
            completed: CompletionBatch::default(),
        }
    }

    /// Sends requests, or has them wait.
    pub fn send(&mut self, requests: impl IntoIterator<Item = Request>, now: Instant) {
        for request in requests {
            self.dispatch(request, now);
        }
        if let Some(connection) = &mut self.connection {
            connection.write();
        }
    }

    pub(super) fn dispatch(&mut self, request: Request, now: Instant) {
        let Limits {
            timeout,
            queue_timeout,
            max_queue,
            ..
        } = self.limits;
        if self.ended {
            return self.fail(&request, Fate::NotRun, closed(Reason::Disconnected));
        }
        let until = request.called + queue_timeout;
        let queue = match &mut self.connection {
            Some(connection) if connection.refuses(&request) => &mut self.waiting_for_master,
            Some(connection) if !connection.retiring => {
                let deadline = request.called.max(connection.since) + timeout;
                if self.waiting.is_empty() && connection.has_room(&request) {
                    connection.push(request, deadline, now);
                } else {
                    self.waiting.push(request, deadline);
                }
                return;
            }
            _ => &mut self.waiting,
        };
        if queue.len() < max_queue {
            return queue.push(request, until);
        }
        let message = format!(
            "There is no connection to {}, and {max_queue} commands wait for one already (maxQueue)",
            self.endpoint
        );
        self.fail(&request, Fate::NotRun, Error::ours("QUEUE_FULL", message));
    }

    /// Sends what waited until the server owes less.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if !connection.retiring && connection.has_much_room() {
            while let Some(first) = self.waiting.first()
                && connection.has_room(first)
                && let Some(Waiting {
                    request, deadline, ..
                }) = self.waiting.pop()
            {
                if connection.refuses(&request) {
                    let until = request.called + self.limits.queue_timeout;
                    self.waiting_for_master.push(request, until);
                } else {
                    connection.push(request, deadline, now);
                }
            }
        }
        connection.write();
    }

    /// Answered once there is a connection, or when there will be none.
    pub fn connect(&mut self, id: Id) {
        match &self.connection {
            _ if self.ended => self.completed.failed(id, closed(Reason::Disconnected)),
            Some(_) => self.completed.done(id),
            None => self.connecting.push((id, 0)),
        }
    }

    /// Answered once messages come.
    pub fn subscribe(&mut self, id: Id, topic: Topic, now: Instant) {
        if !self.subscriptions.want(&topic, id) {
            return self.completed.done(id);
        }
        let asker = Asker::Caller(id);
        let request = self.subscription(Subscription { topic, asker }, now);
        self.send([request], now);
    }

    /// Has a topic subscribed, on whichever connection there is. Only a server that refuses ends that, with an event.
    pub fn keep(&mut self, topic: &Topic, priority: Priority, now: Instant) {
        if self.subscriptions.keep(topic, priority) && self.connection.is_some() {
            let due = self.subscriptions.due_now(topic);
            let request = due.map(|subscription| self.subscription(subscription, now));
            self.send(request, now);
        }
    }

    /// Whether topics wait for their turn to be subscribed.
    pub fn has_batches(&self) -> bool {
        self.connection.is_some() && self.subscriptions.has_batches()
    }

    /// Subscribes those that have their turn.
    pub fn subscribe_batch(&mut self, now: Instant) {
        if self.connection.is_some() {
            let batch = self.subscriptions.next_batch(&mut self.completed);
            let requests: Vec<_> = batch
                .into_iter()
                .map(|subscription| self.subscription(subscription, now))
                .collect();
            self.send(requests, now);
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
    pub fn is_idle(&self, now: Instant) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|connection| connection.is_idle(now))
    }

    /// Whether more than a few replies are owed.
    pub fn is_busy(&self) -> bool {
        self.connection.as_ref().is_some_and(InFlight::is_busy)
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub fn health(&self) -> Health {
        let connection = self.connection.as_ref();
        let is_well = connection.is_some() && !self.misses_master();
        Health {
            is_ready: is_well,
            since: self.since,
            heard: connection.map(|connection| connection.received).or(self.heard),
            in_flight: connection.map_or(0, |connection| connection.sent.len()),
            waiting: self.waiting.len() + self.waiting_for_master.len() + self.connecting.len(),
            attempt: self.attempt,
            cause: if self.misses_master() {
                Some(self.at_replica())
            } else {
                self.cause.clone()
            },
        }
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
        let left = self
            .waiting
            .take_if(|waiting| is_left(&self.subscriptions, &waiting.request));
        for request in left.iter().chain([&request]) {
            self.settle(request);
        }
    }

    /// Nothing more will be asked for; `id` is answered once all is answered. What was not sent waits no longer than for a reply.
    pub fn close(&mut self, id: Id, now: Instant) {
        if self.ended {
            return self.completed.done(id);
        }
        self.closing = Some(id);
        for queue in [&mut self.waiting, &mut self.waiting_for_master] {
            queue.wait_until(now + self.limits.timeout);
        }
    }

    /// Whether it is closing, and nobody waits for an answer.
    pub fn is_done(&self) -> bool {
        self.closing.is_some()
            && self.waiting.is_empty()
            && self.waiting_for_master.is_empty()
            && self
                .connection
                .as_ref()
                .is_none_or(|connection| !connection.sent.iter().any(Sent::is_awaited))
    }

    pub fn connected(&mut self, greeted: Established, now: Instant) {
        let mut connection = InFlight::new(greeted, now);
        let role = connection.server.role;
        if self.role == Role::Commands {
            self.wants_master |= role == ServerRole::Master;
            connection.refuses_writes = self.wants_master && role == ServerRole::Replica;
        }
        self.connection = Some(connection);
        // A subscribing connection is told of once it was missed.
        if self.cause.take().is_some() || self.role == Role::Commands {
            self.completed.events.push(Event::Ready(self.role));
        }
        (self.since, self.attempt) = (now, 0);
        for (id, _) in mem::take(&mut self.connecting) {
            self.connect(id);
        }
        let due = self.subscribe_due(now);
        let mut waiting = mem::take(&mut self.waiting);
        let waiting = std::iter::from_fn(|| waiting.pop()).map(|waiting| waiting.request);
        self.send(due.into_iter().chain(waiting), now);
    }

    /// Whether the connection leads to a replica, and another one to a master is to take its place.
    pub fn misses_master(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.refuses_writes && !connection.retiring)
    }

    /// Why a master is looked for.
    pub fn at_replica(&self) -> Error {
        Error::reply(format!("READONLY {} has become a replica", self.endpoint))
    }

    /// Another connection is to take the place of the one that there is, once all is answered. False if nothing is owed.
    pub fn retire(&mut self) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        connection.retiring = true;
        !connection.sent.is_empty()
    }

    /// An attempt to connect failed; there will be another, but who has waited long enough is told. If the server `refused`, with an
    /// answer that will not change by itself, all are.
    pub fn not_connected(&mut self, cause: &Error, refused: bool) {
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
        self.subscriptions.lost(SystemTime::now(), &mut self.completed);
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
            self.endpoint, cause.message
        );
        let reason = cause.reason.filter(|_| cause.code == "CONNECTION");
        Error::because(reason.unwrap_or(Reason::NotReady), message).caused_by(cause.clone())
    }

    /// The connection is gone. What was not sent, or may be sent again, waits for the next one.
    pub fn lost(&mut self, cause: Error, now: Instant) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let silent = now.saturating_duration_since(connection.received);
        self.subscriptions
            .lost(SystemTime::now() - silent, &mut self.completed);
        let mut again = Queue::default();
        let Limits { queue_timeout, .. } = self.limits;
        let sent = connection.sent.into_iter().enumerate();
        for (index, sent) in sent.filter(|(_, sent)| sent.is_awaited()) {
            let Sent {
                mut request,
                position,
                ..
            } = sent;
            let until = request.called + queue_timeout;
            if matches!(request.subject, Subject::Unsubscription) || is_left(&self.subscriptions, &request) {
                self.settle(&request);
            } else if connection.write_buffer.is_unsent(position) {
                again.push(request, until);
            } else if !request.repeatable {
                let message = format!(
                    "The connection to {} was lost before the reply came, so that the command may have been run or not: {}",
                    self.endpoint, cause.message
                );
                let error = Error::because(Reason::Lost, message).caused_by(cause.clone());
                self.fail(&request, Fate::Unknown, error);
            } else if request.suspected {
                let message = format!(
                    "The connection to {} was lost twice while this command, which only reads, was to be answered: is its reply longer than the server allows (client-output-buffer-limit)? It was sent twice: {}",
                    self.endpoint, cause.message
                );
                let error = Error::because(Reason::LostTwice, message).caused_by(cause.clone());
                self.fail(&request, Fate::Unknown, error);
            } else {
                // The server answers in order.
                request.suspected = index == 0 && self.role == Role::Commands;
                again.push(request, until);
            }
        }
        for queue in [&mut self.waiting_for_master, &mut self.waiting] {
            while let Some(Waiting { request, .. }) = queue.pop() {
                let until = request.called + queue_timeout;
                again.push(request, until);
            }
        }
        self.waiting = again;
        self.cause = Some(cause);
        (self.since, self.heard) = (now, Some(connection.received));
    }

    pub fn reconnecting(&mut self, attempt: u32, delay: Duration, cause: Error) {
        self.attempt = attempt;
        self.completed.events.push(Event::Reconnecting {
            role: self.role,
            attempt,
            delay,
            cause,
        });
    }

    /// There will be no connection any more. Where it has closed as it should, nobody but who closed it waits to be told.
    pub fn end(&mut self) {
        self.ended = true;
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

    /// Whether bytes are left that the transport must write, and does not yet.
    pub fn has_unsent(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| !connection.writing && !connection.write_buffer.is_empty())
    }

    /// Whether the transport is to look into the socket before it writes. It says so once.
    pub fn must_drain_first(&mut self) -> bool {
        let connection = self.connection.as_mut();
        connection.is_some_and(|connection| mem::take(&mut connection.unverified))
    }

    /// What the transport is to write next, in pieces.
    pub fn unsent(&mut self) -> Vec<Bytes> {
        let Some(connection) = &mut self.connection else {
            return Vec::new();
        };
        let next = connection.write_buffer.next();
        connection.writing = !next.is_empty();
        next
    }

    /// The transport wrote so many of them.
    pub fn taken(&mut self, count: usize) {
        if let Some(connection) = &mut self.connection {
            connection.write_buffer.advance(count);
        }
    }

    /// Tells whoever asked for something of no result that it is done.
    pub(super) fn settle(&mut self, request: &Request) {
        if let Some(id) = request.id {
            self.completed.done(id);
        }
    }

    pub(super) fn fail(&mut self, request: &Request, fate: Fate, error: Error) {
        match &request.subject {
            Subject::Subscription(subscription) => self.subscriptions.failed(subscription),
            Subject::Observed(observer) => observer.unanswered(fate),
            _ => {}
        }
        if let Some(id) = request.id {
            self.completed.failed(id, error);
        }
    }

    pub(super) fn request(&self, id: Option<Id>, words: &[&[u8]], now: Instant) -> Request {
        Request {
            id,
            bytes: encode::command(words).into(),
            replies: 1,
            repeatable: true,
            shape: Shape::AsIs,
            subject: Subject::Command,
            called: now,
            suspected: false,
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

/// Whether a request is to subscribe what nobody wants any more.
fn is_left(subscriptions: &Subscriptions, request: &Request) -> bool {
    match &request.subject {
        Subject::Subscription(subscription) => subscriptions.is_left(subscription),
        _ => false,
    }
}

fn closed(reason: Reason) -> Error {
    Error::because(reason, "The connection was closed before there was an answer")
}
