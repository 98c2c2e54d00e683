//! Requests from call to answer, over any number of connections. It reads no socket, and has `InFlight` write only what the socket takes at
//! once. Callers give the time; it asks for the time of day alone, by which gaps are told.
//!
//! [`queue`]: not sent yet. [`in_flight`]: sent, with the [`write_buffer`]. [`writes`]: what the transport writes. [`frames`]: what was
//! received. [`lifecycle`]: connections come and go. [`deadlines`]. What a frame means is for the [`Machine`]: that of [`commands`], or the subscriber's.

pub mod commands;
mod deadlines;
mod frames;
pub mod in_flight;
mod lifecycle;
pub mod queue;
mod write_buffer;
mod writes;

use std::fmt::Display;
use std::time::{Instant, SystemTime};

use bytes::BytesMut;

use crate::error::{Error, Reason};
use crate::redis::completions::CompletionBatch;
use crate::redis::config::Limits;
use crate::redis::endpoint::{Endpoint, EndpointName};
use crate::redis::moment::Moment;
use crate::redis::pipeline::commands::redirect::Returned;
use crate::redis::pipeline::in_flight::{Established, InFlight, Server};
use crate::redis::pipeline::queue::{Queue, UnsentRequest};
use crate::redis::pipeline::write_buffer::WriteBuffer;
use crate::redis::request::{Fate, Id, Request, Role};
use crate::trace::{Area, trace};

/// State of one connection, for `health()`.
pub struct Health {
    pub role: Role,
    pub is_ready: bool,
    /// Where it leads, or led last.
    pub node: Option<EndpointName>,
    /// When it was connected or lost last.
    pub since: Instant,
    /// When the server last sent anything.
    pub heard: Option<Instant>,
    /// Requests that were sent and have no reply yet.
    pub in_flight: usize,
    /// Requests that wait to be sent.
    pub waiting: usize,
    /// How many attempts to connect have failed since then.
    pub failures: u32,
    /// Why there is no connection.
    pub cause: Option<Error>,
}

/// After this many failed attempts `connect` fails.
pub const ATTEMPTS: u32 = 3;

/// What a reply is to the frame that it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyPart {
    /// Its end.
    Complete,
    /// One of several replies to a request; more follow.
    Partial,
    /// A push, which replies to no request.
    Push,
    /// A reply to no request.
    Unasked,
}

/// What a connection is used for, and what that adds to a pipeline.
pub trait Machine: Default + Send + Sized + 'static {
    /// As events and traces name it.
    const ROLE: Role;

    /// Takes complete frames off the front of the buffer, and handles them. Gives how many messages were unwanted.
    fn receive(pipeline: &mut Pipeline<Self>, buffer: &mut BytesMut, now: Instant) -> Result<usize, Error>;

    /// There is a connection; `is_first` if none was lost before, and no attempt has failed. Gives requests to send ahead of those that wait.
    fn connected(
        pipeline: &mut Pipeline<Self>,
        established: &Established,
        is_first: bool,
        now: Instant,
    ) -> Vec<Request>;

    /// The connection was lost, or an attempt failed; so it may be called several times. A gap begins at `gap_from`,
    /// unless one is open.
    fn disconnected(_pipeline: &mut Pipeline<Self>, _gap_from: SystemTime) {}

    /// Why the connection to a peer must end, though it is open.
    fn fault(&self, _peer: &str) -> Option<Error> {
        None
    }

    /// There is a gap: it began at this time at the latest, behind what a node has brought, and lasts until a moment at least.
    fn widen_gap(&mut self, _from: SystemTime, _node: Option<EndpointName>, _until: Instant) {}

    /// Does what is due. Gives when something will be.
    fn tick(_pipeline: &mut Pipeline<Self>, _now: Instant) -> Option<Instant> {
        None
    }

    /// Whether the machine has queued batches.
    fn has_batches(&self) -> bool {
        false
    }

    /// The next batch of these requests.
    fn next_batch(_pipeline: &mut Pipeline<Self>, _now: Instant) -> Vec<Request> {
        Vec::new()
    }

    /// Whether a reply completes the frame: `before` replies of it are there already, and `front` is the request that was sent first.
    fn reply_part(reply: &[u8], before: usize, front: Option<&Request>) -> ReplyPart;

    /// Writes a request to the buffer.
    fn write(&mut self, request: &mut Request, buffer: &mut WriteBuffer) {
        buffer.push(&request.bytes);
    }

    /// Whether the server refuses writes, so that they wait for another connection.
    fn refuses_writes(&self) -> bool {
        false
    }

    /// Whether a request has nothing left to ask for once its connection is lost.
    fn is_obsolete(&self, _request: &Request) -> bool {
        false
    }

    /// The connection was lost before a request's reply came; `is_first` of all in flight. Without an error it is sent again.
    fn reply_lost(
        &self,
        _request: &mut Request,
        _is_first: bool,
        _peer: &str,
        _cause: &Error,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Requests that a node of a cluster has not run, and marks up to which all requests have ended: in this order.
    fn take_returned(&mut self) -> Option<(Vec<Returned>, Vec<u64>)> {
        None
    }

    /// There will be no other connection.
    fn ended(&mut self) {}

    /// A request has failed.
    fn failed(&mut self, _request: &Request, _fate: Fate) {}

    /// The error of a request that the peer was to run, as its caller is told it.
    fn error_at(&self, _request: &Request, _peer: &str, error: Error) -> Error {
        error
    }

    /// Whether the sink has to pass on more than what is completed.
    fn has_output(&self) -> bool {
        false
    }
}

pub struct Pipeline<M> {
    pub(super) machine: M,
    pub(super) limits: Limits,
    /// As errors name it while there is no connection.
    target: String,
    /// Where the connection leads, or where the last one did. That of a cluster's node is known before.
    pub node: Option<EndpointName>,
    /// Where the master is, as the server has said that was one before.
    redirect: Option<Endpoint>,
    /// Requests that wait for a connection, or for room in the window.
    pub(super) waiting: Queue,
    /// Writes that the server refuses wait for a master.
    waiting_for_master: Queue,
    /// Calls of `connect`, and how many attempts each has seen fail.
    connecting: Vec<(Id, u32)>,
    pub(super) connection: Option<InFlight>,
    /// Why there is no connection.
    cause: Option<Error>,
    /// When the connection was opened or lost last.
    since: Instant,
    /// How many attempts to connect have failed since then.
    failures: u32,
    /// When the last connection was last heard.
    heard: Option<Instant>,
    /// The request to close, which is answered last.
    closing: Option<Id>,
    /// No request waits for a connection any longer.
    latest: Option<Instant>,
    /// When `tick` is to be called next.
    next_tick: Option<Instant>,
    /// There will be no other connection.
    ended: bool,
    /// What has been completed and not passed on.
    pub completed: CompletionBatch,
}

impl<M: Machine> Pipeline<M> {
    pub fn new(limits: Limits, target: String) -> Self {
        Self {
            machine: M::default(),
            limits,
            target,
            node: None,
            redirect: None,
            waiting: Queue::default(),
            waiting_for_master: Queue::default(),
            connecting: Vec::new(),
            connection: None,
            cause: None,
            since: Instant::now(),
            failures: 0,
            heard: None,
            closing: None,
            latest: None,
            next_tick: None,
            ended: false,
            completed: CompletionBatch::default(),
        }
    }

    /// As traces name it.
    pub fn name(&self) -> String {
        format!("{} ({})", self.target, M::ROLE)
    }

    /// Prints a line of the trace.
    pub(super) fn trace<T: Display>(&self, text: impl FnOnce() -> T) {
        trace(Area::Redis, || format!("{}: {}", self.name(), text()));
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
        let queue = match &mut self.connection {
            Some(_) if refuses(&self.machine, &request) => &mut self.waiting_for_master,
            Some(connection) if !connection.retiring => {
                let deadline = request.ready.max(connection.since) + timeout;
                if self.waiting.is_empty() && connection.has_room(&request) {
                    push(&mut self.machine, connection, request, deadline, now);
                } else {
                    self.waiting.push(request, deadline);
                }
                return;
            }
            _ => &mut self.waiting,
        };
        if queue.len() < max_queue {
            let until = request.waits_until(queue_timeout, self.latest);
            return queue.push(request, until);
        }
        let message = format!(
            "There is no connection to {}, and {max_queue} commands wait for one already (maxQueue)",
            self.target
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
                && let Some(UnsentRequest {
                    request, deadline, ..
                }) = self.waiting.pop()
            {
                if refuses(&self.machine, &request) {
                    let until = request.waits_until(self.limits.queue_timeout, self.latest);
                    self.waiting_for_master.push(request, until);
                } else {
                    push(&mut self.machine, connection, request, deadline, now);
                }
            }
        }
        connection.write();
    }

    /// Whether requests of the machine's own wait for their turn on this connection.
    pub fn has_batches(&self) -> bool {
        self.connection.is_some() && self.machine.has_batches()
    }

    /// Sends the next batch of these requests.
    pub fn send_batch(&mut self, now: Instant) {
        if self.connection.is_some() {
            let batch = M::next_batch(self, now);
            self.send(batch, now);
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

    /// Where the master is, if the server has said so. It is told once.
    pub fn take_redirect(&mut self) -> Option<Endpoint> {
        self.redirect.take()
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether there is a connection, or was one.
    pub fn was_heard(&self) -> bool {
        self.connection.is_some() || self.heard.is_some()
    }

    /// The other end, as errors name it.
    pub fn peer(&self) -> &str {
        self.node.as_deref().unwrap_or(&self.target)
    }

    /// Whether there is anything for the sink.
    pub fn has_output(&self) -> bool {
        !self.completed.is_empty() || self.machine.has_output()
    }

    /// Answers a request that has no result.
    pub(super) fn done(&mut self, request: &Request) {
        if let Some(id) = request.id {
            self.completed.done(id);
        }
    }

    pub(super) fn fail(&mut self, request: &Request, fate: Fate, error: Error) {
        self.machine.failed(request, fate);
        let error = self.machine.error_at(request, self.peer(), error);
        self.completed.conclude(request, Err(error));
    }
}

/// Whether the request is a write, and the server a replica that will not do.
fn refuses<M: Machine>(machine: &M, request: &Request) -> bool {
    machine.refuses_writes() && !request.repeatable
}

fn push<M: Machine>(
    machine: &mut M,
    connection: &mut InFlight,
    request: Request,
    deadline: Moment,
    now: Instant,
) {
    connection.push(request, deadline, now, |request, buffer| {
        machine.write(request, buffer)
    });
}

pub fn closed(reason: Reason) -> Error {
    Error::because(reason, "The connection was closed before there was an answer")
}

/// `disconnect` came first. `cause` is why there was no connection.
pub fn never_sent(cause: &str) -> Error {
    let message = format!("The store was disconnected before the command was sent{cause}");
    Error::because(Reason::Disconnected, message)
}
