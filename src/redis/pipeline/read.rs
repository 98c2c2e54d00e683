//! Matches what the server sends with the requests in flight.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Reason};
use crate::redis::pipeline::Pipeline;
use crate::redis::pipeline::in_flight::{InFlight, Sent};
use crate::redis::pipeline::redirect::{Returned, refusal as refusal_in_cluster, without_asking};
use crate::redis::protocol::decode;
use crate::redis::protocol::published::Skipped;
use crate::redis::protocol::scan::{MAX_LINE, Scanner, Unreadable};
use crate::redis::request::Role;
use crate::redis::request::{Fate, Request, Shape, Subject};
use crate::reply::Reply;

impl Pipeline {
    /// Takes complete replies off the front of the buffer. `skip` finds messages there that no subscriber wants: gives how many.
    /// An error ends the connection.
    pub fn received(
        &mut self,
        buffer: &mut BytesMut,
        now: Instant,
        skip: impl Fn(&[u8]) -> Skipped,
    ) -> Result<usize, Error> {
        let mut skipped = 0;
        loop {
            skipped += self.skip(buffer, now, &skip);
            let Some(frame) = self.next_frame(buffer, now)? else {
                break;
            };
            match self.role {
                Role::Commands => self.replied(frame, now),
                Role::Subscriptions => self.hear(&frame, now),
            }
        }
        self.pass_marks();
        self.send_waiting(now);
        match &self.connection {
            Some(connection) if connection.retiring && connection.sent.is_empty() => Err(Error::because(
                Reason::Replaced,
                "another connection has taken its place",
            )),
            _ => Ok(skipped),
        }
    }

    /// Drops messages for other instances in the receive buffer: they are most of what a fleet publishes.
    fn skip(&mut self, buffer: &mut BytesMut, now: Instant, skip: impl Fn(&[u8]) -> Skipped) -> usize {
        let is_subscriber = self.role == Role::Subscriptions;
        let connection = self.connection.as_mut().filter(|_| is_subscriber);
        let Some(connection) = connection.filter(|connection| connection.scanner.is_at_start()) else {
            return 0;
        };
        let Skipped { messages, length } = skip(buffer);
        if messages > 0 {
            (connection.heard, connection.received) = (now, now);
            connection.scanner = Scanner::default();
            buffer.advance(length);
        }
        messages
    }

    /// All replies to the request that was sent first, or one push of a subscriber, once complete.
    fn next_frame(&mut self, buffer: &mut BytesMut, now: Instant) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(None);
            };
            (connection.heard, connection.received) = (now, now);
            let (replies, length) = connection.complete;
            let end = match connection.scanner.end(&buffer[length..]) {
                Ok(Some(end)) => end,
                Ok(None) if buffer.len() <= self.limits.max_reply => {
                    let missing = connection.scanner.missing(&buffer[length..]);
                    reserve(buffer, missing);
                    return Ok(None);
                }
                Ok(None) => return Err(self.too_large(Unreadable::TooLarge)),
                Err(Unreadable::Malformed) => return Err(lost_sync(&self.endpoint)),
                Err(unreadable) => return Err(self.too_large(unreadable)),
            };
            let length = length + end;
            // A push replies to no request.
            let is_reply = self.role == Role::Subscriptions || buffer[length - end] != b'>';
            let replies = replies + usize::from(is_reply);
            let is_complete = match connection.sent.front() {
                _ if self.role == Role::Subscriptions => true,
                Some(front) => replies == front.replies(),
                // The server says why it closes.
                None if is_reply && buffer[length - end] == b'-' => {
                    return Err(match decode::parse(&buffer[length - end..length])? {
                        Reply::Error(error) => error,
                        _ => lost_sync(&self.endpoint),
                    });
                }
                None if is_reply => {
                    let message = format!("{} sent a reply to no command", self.endpoint);
                    return Err(Error::because(Reason::Protocol, message));
                }
                None => false,
            };
            if is_complete {
                connection.complete = (0, 0);
                return Ok(Some(buffer.split_to(length).freeze()));
            }
            connection.complete = (replies, length);
            if replies == 0 {
                connection.complete = (0, 0);
                buffer.advance(length);
            }
        }
    }

    /// The reply will never be complete: its request fails, and is not sent again.
    fn too_large(&mut self, what: Unreadable) -> Error {
        let endpoint = &self.endpoint;
        let message = match what {
            Unreadable::LongLine => format!("{endpoint} sent a line of more than {MAX_LINE} bytes"),
            Unreadable::HugeString => format!("{endpoint} announced a string of more than 512 MB"),
            _ => format!(
                "{endpoint} sent a reply of more than {} bytes (maxReplySize)",
                self.limits.max_reply
            ),
        };
        let error = Error::because(Reason::ReplyTooLarge, message);
        let connection = self.connection.as_mut().filter(|_| self.role == Role::Commands);
        if let Some(Sent {
            request, late: false, ..
        }) = connection.and_then(InFlight::pop)
        {
            let message = format!("{}: the connection was closed", error.message);
            self.fail(
                &request,
                Fate::Unknown,
                Error::because(Reason::ReplyTooLarge, message),
            );
        }
        error
    }

    /// The reply to the request that was sent first.
    fn replied(&mut self, mut frame: Bytes, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        connection.measure(frame.len());
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
        // A store that began at a replica stays there.
        if self.wants_master
            && !self.in_cluster
            && let Some(refused) = refusal(&frame, &request)
        {
            connection.refuses_writes = true;
            if refused == Refused::Whole && !late {
                return self.dispatch(request, now);
            }
        }
        if late {
            return;
        }
        if request.asking {
            frame = without_asking(frame);
        }
        if self.in_cluster
            && let Some(refusal) = refusal_in_cluster(&frame, &request)
        {
            return self.returned.push(Returned { request, refusal });
        }
        if let Subject::Script(script) = &request.subject
            && by_hash
            && decode::is_error(&frame, "NOSCRIPT No matching script")
        {
            // The server has forgotten the script, and so has not run it.
            connection.scripts.remove(&script.sha1);
            if connection.retiring || connection.refuses(&request) {
                self.dispatch(request, now);
            } else {
                // Ahead of waiting requests, which were called later.
                connection.push(request, deadline, now);
            }
            return;
        }
        if let Subject::Observed(observer) = &request.subject {
            observer.replied(&frame);
        }
        self.completed.conclude(&request, Ok(frame));
    }
}

/// Makes room for what is missing, but never at once for all that a server announces.
fn reserve(buffer: &mut BytesMut, missing: usize) {
    const AT_LEAST: usize = 4 << 10;
    const NEW: usize = 64 << 10;
    const AT_MOST: usize = 16 << 20;
    if buffer.capacity() - buffer.len() < missing.clamp(AT_LEAST, AT_MOST) {
        buffer.reserve(missing.clamp(NEW, AT_MOST));
    }
}

/// Without the bytes, which may be data of users.
fn lost_sync(endpoint: &str) -> Error {
    Error::because(
        Reason::Protocol,
        format!("{endpoint} sent what is not Redis's protocol"),
    )
}

/// Which part of a request a replica has refused.
#[derive(PartialEq, Eq)]
enum Refused {
    /// Nothing was run.
    Whole,
    /// Other commands of the transaction may have been run.
    Part,
}

/// What the server refused because it is a replica.
fn refusal(frame: &[u8], request: &Request) -> Option<Refused> {
    let is_readonly = |reply: &Reply| matches!(reply, Reply::Error(error) if error.code == "READONLY");
    if request.shape != Shape::Transaction {
        let text = match request.subject {
            // An error that the script itself raises may follow a write.
            Subject::Script(_) => "READONLY You can't write against a read only replica",
            _ => "READONLY ",
        };
        let refused = !request.repeatable && decode::is_error(frame, text);
        return refused.then_some(Refused::Whole);
    }
    // Searched before parsing, which this thread should do rarely.
    memchr::memmem::find(frame, b"READONLY ")?;
    let replies = decode::parse_all(frame).ok()?;
    let (executed, queued) = replies.split_last()?;
    match executed {
        Reply::Error(aborted) => {
            let refused = queued.iter().any(is_readonly) || aborted.message.contains(": READONLY ");
            refused.then_some(Refused::Whole)
        }
        Reply::Array(results) => results.iter().any(is_readonly).then_some(Refused::Part),
        _ => None,
    }
}
