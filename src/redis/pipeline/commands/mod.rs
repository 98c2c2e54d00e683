//! The use of a connection for commands: each is answered by the server's replies to it.
//!
//! [`window`]: how many may be in flight. [`refusal`]: what a replica refuses.

mod refusal;
mod window;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use hashbrown::HashSet;

use crate::error::{Error, Reason};
use crate::redis::completions::Event;
use crate::redis::pipeline::commands::refusal::{Refused, redirect, refusal};
use crate::redis::pipeline::commands::window::Window;
use crate::redis::pipeline::in_flight::{Established, InFlight, Sent, ServerRole};
use crate::redis::pipeline::write_buffer::WriteBuffer;
use crate::redis::pipeline::{Frame, Machine, Pipeline, push, refuses};
use crate::redis::protocol::decode;
use crate::redis::request::{Fate, Request, Role, Sha1, Subject};

#[derive(Default)]
pub struct Commands {
    /// The store was at a master before: a replica will not do for its writes.
    wants_master: bool,
    /// The server is a replica, and the store wants a master.
    refuses_writes: bool,
    window: Window,
    /// The scripts that the server has been sent.
    scripts: HashSet<Sha1, RandomState>,
}

impl Machine for Commands {
    const ROLE: Role = Role::Commands;

    fn receive(pipeline: &mut Pipeline<Self>, buffer: &mut BytesMut, now: Instant) -> Result<usize, Error> {
        loop {
            match pipeline.next_frame(buffer, now) {
                Ok(Some(frame)) => pipeline.replied(frame, now),
                Ok(None) => return Ok(0),
                Err(error) => {
                    if error.reason == Some(Reason::ReplyTooLarge) {
                        pipeline.reply_too_large(&error);
                    }
                    return Err(error);
                }
            }
        }
    }

    fn frame(reply: &[u8], before: usize, front: Option<&Request>) -> Frame {
        match front {
            _ if reply.starts_with(b">") => Frame::Push,
            None => Frame::Unasked,
            Some(front) if before + 1 == front.replies => Frame::Complete,
            Some(_) => Frame::Partial,
        }
    }

    fn connected(
        pipeline: &mut Pipeline<Self>,
        established: &Established,
        _: bool,
        _: Instant,
    ) -> Vec<Request> {
        let role = established.server.role;
        let wants_master = pipeline.machine.wants_master || role == ServerRole::Master;
        pipeline.machine = Self {
            wants_master,
            refuses_writes: wants_master && role == ServerRole::Replica,
            window: Window::new(established.round_trip),
            scripts: HashSet::default(),
        };
        pipeline.completed.events.push(Event::Ready {
            role: Self::ROLE,
            node: established.endpoint.to_string().into(),
        });
        Vec::new()
    }

    fn write(&mut self, request: &Request, buffer: &mut WriteBuffer) -> bool {
        match &request.subject {
            Subject::Script(script) if !self.scripts.insert(script.sha1) => {
                buffer.push(&script.head);
                buffer.push(&request.bytes.slice(script.tail..));
                true
            }
            _ => {
                buffer.push(&request.bytes);
                false
            }
        }
    }

    fn refuses_writes(&self) -> bool {
        self.refuses_writes
    }

    fn reply_lost(
        &self,
        request: &mut Request,
        is_first: bool,
        endpoint: &str,
        cause: &Error,
    ) -> Result<(), Error> {
        let (reason, message) = if !request.repeatable {
            let message = format!(
                "The connection to {endpoint} was lost before the reply came, so that the command may have been run or not: {}",
                cause.message
            );
            (Reason::Lost, message)
        } else if request.suspected {
            let message = format!(
                "The connection to {endpoint} was lost twice while this command, which only reads, was to be answered: is its reply longer than the server allows (client-output-buffer-limit)? It was sent twice: {}",
                cause.message
            );
            (Reason::LostTwice, message)
        } else {
            // The server answers in order: the first one may be why it closed.
            request.suspected = is_first;
            return Ok(());
        };
        Err(Error::because(reason, message).caused_by(cause.clone()))
    }

    fn failed(&mut self, request: &Request, fate: Fate) {
        if let Subject::Observed(observer) = &request.subject {
            observer.unanswered(fate);
        }
    }
}

impl Pipeline<Commands> {
    /// The reply to the request that was sent first will never be complete: it fails, and is not sent again.
    fn reply_too_large(&mut self, error: &Error) {
        if let Some(Sent {
            request, late: false, ..
        }) = self.connection.as_mut().and_then(InFlight::pop)
        {
            let message = format!("{}: the connection was closed", error.message);
            let error = Error::because(Reason::ReplyTooLarge, message);
            self.fail(&request, Fate::Unknown, error);
        }
    }

    /// The reply to the request that was sent first.
    fn replied(&mut self, frame: Bytes, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        connection.most = self.machine.window.measure(frame.len());
        let Some(Sent {
            request,
            deadline,
            late,
            by_hash,
            ..
        }) = connection.pop()
        else {
            return;
        };
        if let Some(master) = redirect(&frame, &request) {
            connection.retiring = true;
            self.redirect = Some(master);
            if !late {
                return self.dispatch(request, now);
            }
        }
        // A store that began at a replica stays there.
        if self.machine.wants_master
            && let Some(refused) = refusal(&frame, &request)
        {
            self.machine.refuses_writes = true;
            if refused == Refused::Whole && !late {
                return self.dispatch(request, now);
            }
        }
        let Some(id) = request.id.filter(|_| !late) else {
            return;
        };
        if let Subject::Script(script) = &request.subject
            && by_hash
            && decode::is_error(&frame, "NOSCRIPT No matching script")
        {
            // The server has forgotten the script, and so has not run it.
            self.machine.scripts.remove(&script.sha1);
            if connection.retiring || refuses(&self.machine, &request) {
                self.dispatch(request, now);
            } else {
                // Ahead of waiting requests, which were called later.
                push(&mut self.machine, connection, request, deadline, now);
            }
            return;
        }
        if let Subject::Observed(observer) = &request.subject {
            observer.replied(&frame);
        }
        self.completed.answer(id, request.shape, Ok(frame));
    }
}
