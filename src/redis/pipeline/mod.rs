//! Requests from call to answer, over any number of connections. Does no I/O and is told the time, but for the bounds of gaps.
//!
//! [`queue`]: not sent yet. [`in_flight`]: sent, with the [`write_buffer`]. [`read`]: replies to requests. [`lifecycle`]: connections come
//! and go. [`deadlines`]. [`redirect`]: what a node of a cluster refuses. [`topics`] and [`subscribe`]: the subscribing connection.

mod deadlines;
pub mod in_flight;
mod lifecycle;
pub mod queue;
mod read;
pub mod redirect;
mod subscribe;
pub mod topics;
mod write_buffer;

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use crate::error::{Error, Reason};
use crate::redis::completions::CompletionBatch;
use crate::redis::config::Limits;
use crate::redis::pipeline::in_flight::{InFlight, Sent, Server};
use crate::redis::pipeline::queue::{Queue, Waiting};
use crate::redis::pipeline::redirect::Returned;
use crate::redis::pipeline::topics::Topics;
use crate::redis::protocol::encode;
use crate::redis::request::{Fate, Id, Request, Role, Route, Shape, Subject};

/// How a connection does.
pub struct Health {
    pub is_ready: bool,
    /// When it was connected or lost last.
    pub since: Instant,
    /// When the server last sent anything.
    pub heard: Option<Instant>,
    /// Requests that were sent and have no reply yet.
    pub in_flight: usize,
    /// Requests that wait to be sent.
    pub waiting: usize,
    /// How many attempts have failed since then.
    pub attempt: u32,
    /// Why there is no connection.
    pub cause: Option<Error>,
}

/// After this many failed attempts `connect` fails.
pub const ATTEMPTS: u32 = 3;

pub struct Pipeline {
    role: Role,
    pub(super) limits: Limits,
    /// As errors name it.
    endpoint: String,
    /// Requests that wait for a connection, or for room in the window.
    waiting: Queue,
    /// Writes that wait for a master while the connection leads to a replica.
    waiting_for_master: Queue,
    /// The store was at a master before: a replica will not do for its writes.
    wants_master: bool,
    /// Calls of `connect`, and how many attempts each has seen fail.
    connecting: Vec<(Id, u32)>,
    connection: Option<InFlight>,
    topics: Topics,
    /// Why there is no connection.
    cause: Option<Error>,
    /// When the connection was opened or lost last.
    since: Instant,
    /// How many attempts to connect have failed since then.
    attempt: u32,
    /// When the last connection was last heard.
    heard: Option<Instant>,
    /// The request to close, which is answered last.
    closing: Option<Id>,
    /// There will be no other connection.
    ended: bool,
    /// What has been completed and not passed on.
    pub completed: CompletionBatch,
    /// The server is a node of a cluster: what it refuses goes back to the router.
    in_cluster: bool,
    returned: Vec<Returned>,
    /// Marks up to which all requests have ended.
    passed: Vec<u64>,
}

impl Pipeline {
    pub fn new(role: Role, limits: Limits, endpoint: String, in_cluster: bool) -> Self {
        Self {
            in_cluster,
            returned: Vec::new(),
            passed: Vec::new(),
            role,
            limits,
            endpoint,
            waiting: Queue::default(),
            waiting_for_master: Queue::default(),
            wants_master: false,
            connecting: Vec::new(),
            connection: None,
            topics: Topics::default(),
            cause: None,
            since: Instant::now(),
            attempt: 0,
            heard: None,
            closing: None,
            ended: false,
            completed: CompletionBatch::default(),
        }
    }

    /// Sends requests, or queues them.
    pub fn send(&mut self, requests: impl IntoIterator<Item = Request>, now: Instant) {
        for request in requests {
            self.dispatch(request, now);
        }
        if let Some(connection) = &mut self.connection {
            connection.write();
        }
    }

    fn dispatch(&mut self, request: Request, now: Instant) {
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
                let deadline = request.ready.max(connection.since) + timeout;
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

    /// Sends requests that waited for room in the window.
    fn send_waiting(&mut self, now: Instant) {
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

    /// Who is at the other end, while there is a connection.
    pub fn server(&self) -> Option<&Server> {
        self.connection.as_ref().map(|connection| &connection.server)
    }

    /// Whether few requests are in flight, and have been for a while.
    pub fn is_idle(&self, now: Instant) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|connection| connection.is_idle(now))
    }

    /// Whether more requests are in flight than the low watermark.
    pub fn is_busy(&self) -> bool {
        self.connection.as_ref().is_some_and(InFlight::is_busy)
    }

    pub fn owes_replies(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| !connection.sent.is_empty())
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

    /// Answers `id` once all requests are answered. Requests that were not sent wait no longer than for a reply.
    pub fn close(&mut self, id: Id, now: Instant) {
        if self.ended {
            return self.completed.done(id);
        }
        self.closing = Some(id);
        for queue in [&mut self.waiting, &mut self.waiting_for_master] {
            queue.wait_until(now + self.limits.timeout);
        }
    }

    /// What goes back to the router, and the marks that have passed: in this order.
    pub fn take_returned(&mut self) -> Option<(Vec<Returned>, Vec<u64>)> {
        let (returned, passed) = (mem::take(&mut self.returned), mem::take(&mut self.passed));
        (!returned.is_empty() || !passed.is_empty()).then_some((returned, passed))
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

    /// Whether bytes are left for the transport, which is not writing yet.
    pub fn has_unsent(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| !connection.writing && !connection.write_buffer.is_empty())
    }

    /// Whether the transport must drain the socket before it writes. True once.
    pub fn must_drain_first(&mut self) -> bool {
        let connection = self.connection.as_mut();
        connection.is_some_and(|connection| mem::take(&mut connection.unverified))
    }

    /// The pieces for the transport to write next.
    pub fn unsent(&mut self) -> Vec<Bytes> {
        let Some(connection) = &mut self.connection else {
            return Vec::new();
        };
        let next = connection.write_buffer.next();
        connection.writing = !next.is_empty();
        next
    }

    /// The transport has written this many bytes.
    pub fn taken(&mut self, count: usize) {
        if let Some(connection) = &mut self.connection {
            connection.write_buffer.advance(count);
        }
    }

    /// Answers a request that has no result.
    fn done(&mut self, request: &Request) {
        if let Some(id) = request.id {
            self.completed.done(id);
        }
    }

    fn fail(&mut self, request: &Request, fate: Fate, error: Error) {
        match &request.subject {
            Subject::Subscription(subscription) => self.topics.failed(subscription),
            Subject::Observed(observer) => observer.unanswered(fate),
            _ => {}
        }
        self.completed.conclude(request, Err(error));
    }

    fn request(&self, id: Option<Id>, words: &[&[u8]], now: Instant) -> Request {
        Request {
            id,
            bytes: encode::command(words).into(),
            replies: 1,
            repeatable: true,
            shape: Shape::AsIs,
            subject: Subject::Command,
            called: now,
            ready: now,
            route: Route::Any,
            asking: false,
            guard: None,
            suspected: false,
        }
    }
}

fn closed(reason: Reason) -> Error {
    Error::because(reason, "The connection was closed before there was an answer")
}
