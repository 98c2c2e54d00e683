//! The use of a connection for commands: each is answered by the server's replies to it.
//!
//! [`window`]: how many may be in flight. [`mod@refusal`]: what a replica refuses. [`mod@redirect`]: what a node of a
//! cluster does not run. [`cluster`]: what its router asks.

mod cluster;
pub mod redirect;
mod refusal;
mod window;

use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use hashbrown::HashSet;

use crate::error::{Error, Reason};
use crate::redis::completions::Event;
use crate::redis::moment::Moment;
use crate::redis::pipeline::commands::redirect::{ASKING, Returned, Returns, without_asking};
use crate::redis::pipeline::commands::refusal::{Refused, master_named_by, refused_part};
use crate::redis::pipeline::commands::window::Window;
use crate::redis::pipeline::in_flight::{Established, InFlight, Sent, ServerRole};
use crate::redis::pipeline::write_buffer::WriteBuffer;
use crate::redis::pipeline::{Machine, Pipeline, ReplyPart, push, refuses};
use crate::redis::protocol::decode;
use crate::redis::request::{Fate, Request, Role, ScriptSha1, Shape, Subject};
use crate::reply::Reply;

#[derive(Default)]
pub struct Commands {
    /// The store was at a master before: a replica will not do for its writes.
    wants_master: bool,
    /// The server is a replica, and the store wants a master.
    refuses_writes: bool,
    window: Window,
    /// The scripts that the server has run, and so knows. It may have refused one that it was sent.
    scripts: HashSet<ScriptSha1, RandomState>,
    /// What is for the router of a cluster; None if there is none.
    cluster: Option<Returns>,
}

impl Machine for Commands {
    const ROLE: Role = Role::Commands;

    fn receive(pipeline: &mut Pipeline<Self>, buffer: &mut BytesMut, now: Instant) -> Result<usize, Error> {
        loop {
            match pipeline.next_frame(buffer, now) {
                Ok(Some(frame)) => pipeline.replied(frame, now),
                Ok(None) => {
                    pipeline.pass_marks();
                    return Ok(0);
                }
                Err(error) => {
                    if error.reason == Some(Reason::ReplyTooLarge) {
                        pipeline.reply_too_large(&error);
                    }
                    return Err(error);
                }
            }
        }
    }

    fn reply_part(reply: &[u8], before: usize, front: Option<&Request>) -> ReplyPart {
        match front {
            _ if reply.starts_with(b">") => ReplyPart::Push,
            None => ReplyPart::Unasked,
            Some(front) if before + 1 == front.replies as usize + usize::from(front.asking) => {
                ReplyPart::Complete
            }
            Some(_) => ReplyPart::Partial,
        }
    }

    fn connected(
        pipeline: &mut Pipeline<Self>,
        established: &Established,
        _: bool,
        _: Instant,
    ) -> Vec<Request> {
        let role = established.server.role;
        let cluster = pipeline.machine.cluster.take();
        // A replica of a cluster says who the master is.
        let wants_master = cluster.is_none() && (pipeline.machine.wants_master || role == ServerRole::Master);
        pipeline.machine = Self {
            wants_master,
            refuses_writes: wants_master && role == ServerRole::Replica,
            window: Window::new(established.round_trip),
            scripts: HashSet::default(),
            cluster,
        };
        pipeline.completed.events.push(Event::Ready {
            role: Self::ROLE,
            node: established.endpoint.to_string().into(),
        });
        Vec::new()
    }

    fn disconnected(pipeline: &mut Pipeline<Self>, _: SystemTime) {
        if let Some(returns) = &mut pipeline.machine.cluster {
            returns.lost();
        }
    }

    fn write(&mut self, request: &mut Request, buffer: &mut WriteBuffer) {
        if request.asking {
            buffer.push(&Bytes::from_static(ASKING));
        }
        if let Subject::Script(script) = &mut request.subject {
            // EVALSHA of an unknown script would use up ASKING.
            script.is_sent = !request.asking && self.scripts.contains(&script.sha1);
            if script.is_sent {
                buffer.push(&script.head);
                return buffer.push(&request.bytes.slice(script.tail..));
            }
        }
        buffer.push(&request.bytes);
    }

    fn refuses_writes(&self) -> bool {
        self.refuses_writes
    }

    fn reply_lost(
        &self,
        request: &mut Request,
        is_first: bool,
        peer: &str,
        cause: &Error,
    ) -> Result<(), Error> {
        let (reason, message) = if !request.repeatable {
            let message = format!(
                "The connection to {peer} was lost before the reply came, so that the command may have been run or not: {}",
                cause.message
            );
            (Reason::Lost, message)
        } else if request.suspected {
            let message = format!(
                "The connection to {peer} was lost twice while this command, which only reads, was to be answered: is its reply longer than the server allows (client-output-buffer-limit)? It was sent twice: {}",
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

    fn ended(&mut self) {
        if let Some(returns) = &mut self.cluster {
            returns.lost();
        }
    }

    fn take_returned(&mut self) -> Option<(Vec<Returned>, Vec<u64>)> {
        self.cluster.as_mut()?.take()
    }

    fn error_at(&self, request: &Request, peer: &str, error: Error) -> Error {
        match self.cluster {
            Some(_) => error.at(Some(peer), request.slot()),
            None => error,
        }
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
            request,
            deadline: Some(_),
            ..
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
        let Some(sent) = connection.pop() else {
            return;
        };
        let is_refused = self.refused_by_replica(&frame, &sent.request);
        let Some(deadline) = sent.deadline else {
            return;
        };
        if is_refused {
            self.dispatch(sent.request, now);
        } else {
            self.answered(&sent.request, deadline, frame, now);
        }
    }

    /// Whether a replica refused the request as a whole; a master is to take it, and this replica no writes.
    fn refused_by_replica(&mut self, frame: &[u8], request: &Request) -> bool {
        if let Some(master) = master_named_by(frame, request) {
            if let Some(connection) = &mut self.connection {
                connection.retiring = true;
            }
            self.redirect = Some(master);
            return true;
        }
        // A store that began at a replica stays there.
        if self.machine.wants_master
            && let Some(refused) = refused_part(frame, request)
        {
            self.machine.refuses_writes = true;
            return refused == Refused::Whole;
        }
        false
    }

    /// The reply to a request that its caller awaits.
    fn answered(&mut self, request: &Request, deadline: Moment, frame: Bytes, now: Instant) {
        let frame = if request.asking {
            without_asking(frame)
        } else {
            frame
        };
        if let Some(returns) = &mut self.machine.cluster
            && let Some(refusal) = redirect::refused_by_node(&frame, request)
        {
            let request = request.clone();
            return returns.put(Returned { request, refusal });
        }
        if let Subject::Script(script) = &request.subject {
            if script.is_sent && decode::is_error(&frame, "NOSCRIPT No matching script") {
                // The server has forgotten the script, and so has not run it.
                self.machine.scripts.remove(&script.sha1);
                return self.send_again(request.clone(), deadline, now);
            }
            // An error may mean that it was not run: it would be sent whole later, behind what was called after it.
            if !matches!(frame.first(), Some(b'-' | b'!')) {
                self.machine.scripts.insert(script.sha1);
            }
        }
        if let Subject::Observed(observer) = &request.subject {
            observer.replied(&frame);
        }
        let outcome = self.outcome(request, frame);
        self.completed.conclude(request, outcome);
    }

    /// A node's error reply is an error with its place. That of one server is decoded by the thread that awaits it.
    fn outcome(&self, request: &Request, frame: Bytes) -> Result<Bytes, Error> {
        // The commands of a transaction have run if the server refused its MULTI alone.
        let is_error = request.shape != Shape::Transaction && frame.first() == Some(&b'-');
        if self.machine.cluster.is_none() || !is_error {
            return Ok(frame);
        }
        match decode::parse(&frame) {
            Ok(Reply::Error(error)) => Err(error.at(Some(self.peer()), request.slot())),
            _ => Ok(frame),
        }
    }

    fn send_again(&mut self, request: Request, deadline: Moment, now: Instant) {
        match &mut self.connection {
            // Ahead of waiting requests, which were called later.
            Some(connection) if !connection.retiring && !refuses(&self.machine, &request) => {
                push(&mut self.machine, connection, request, deadline, now);
            }
            _ => self.dispatch(request, now),
        }
    }
}
