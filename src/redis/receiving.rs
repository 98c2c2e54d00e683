//! What a pipeline makes of what the server sends: replies go to their requests, messages to their subscribers.

use std::mem;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::connection::{Connection, Sent};
use super::mailbox::Event;
use super::pipeline::{Pipeline, Role};
use super::request::{Shape, Subject};
use super::resp::{self, Malformed};
use super::subscriptions::Heard;
use crate::error::Error;
use crate::reply::Reply;

impl Pipeline {
    /// Takes complete replies off the front of what came in. An error ends the connection.
    pub fn received(&mut self, buffer: &mut BytesMut, now: Instant) -> Result<(), Error> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            (connection.heard, connection.received) = (now, now);
            let (replies, length) = connection.complete;
            let Some(end) = connection
                .scanner
                .end(&buffer[length..])
                .map_err(|Malformed| lost_sync(&self.place))?
            else {
                let missing = connection.scanner.missing(&buffer[length..]);
                reserve(buffer, missing);
                break;
            };
            // A push is no reply to anything.
            let is_reply = buffer[length] != b'>';
            connection.complete = (replies + usize::from(is_reply), length + end);
            let all = match (self.role, connection.sent.front()) {
                (Role::Subscriptions, _) => true,
                (Role::Commands, Some(front)) => connection.complete.0 == front.request.replies,
                (Role::Commands, None) if is_reply => {
                    let message = format!("{} sent a reply to no command", self.place);
                    return Err(Error::ours("CONNECTION", message));
                }
                (Role::Commands, None) => true,
            };
            if !all {
                continue;
            }
            let (_, length) = mem::take(&mut connection.complete);
            let frame = buffer.split_to(length).freeze();
            match self.role {
                Role::Commands if is_reply => self.replied(frame, now),
                Role::Commands => {}
                Role::Subscriptions => self.hear(&frame, now),
            }
        }
        self.send_waiting(now);
        match &self.connection {
            Some(connection) if connection.retiring && connection.sent.is_empty() => {
                Err(Error::ours("CONNECTION", "the server has become a replica"))
            }
            _ => Ok(()),
        }
    }

    /// The reply to the request that was sent first.
    fn replied(&mut self, frame: Bytes, now: Instant) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        connection.measure(frame.len());
        let Some(Sent {
            request,
            late,
            by_hash,
            ..
        }) = connection.pop()
        else {
            return;
        };
        connection.retiring |= !connection.server.replica && is_readonly(&frame, request.shape);
        let Some(id) = request.id.filter(|_| !late) else {
            return;
        };
        if let Subject::Script(script) = &request.subject
            && by_hash
            && resp::is_error(&frame, "NOSCRIPT No matching script")
        {
            // The server has forgotten it, and so has not run it.
            connection.scripts.remove(&script.sha1);
            if connection.retiring {
                self.send([request], now);
            } else {
                // Ahead of what waits, as it was called before.
                connection.push(request, now);
            }
            return;
        }
        self.mail.answer(id, request.shape, Ok(frame));
    }

    fn hear(&mut self, frame: &Bytes, now: Instant) {
        let Heard::Answer(outcome) = self.subscriptions.hear(frame, &mut self.mail) else {
            return;
        };
        let Some(Sent { request, late, .. }) = self.connection.as_mut().and_then(Connection::pop) else {
            return;
        };
        let subscription = match &request.subject {
            Subject::Subscription(subscription) => Some(subscription),
            _ => None,
        };
        match outcome {
            Ok(()) => {
                let subscriptions = &mut self.subscriptions;
                let wanted = subscription
                    .is_none_or(|subscription| subscriptions.confirmed(subscription, &mut self.mail));
                if !late {
                    self.settle(&request);
                }
                // What came too late for whoever asked for it is taken back.
                if let (Some(subscription), true, false) = (subscription, late, wanted) {
                    self.unsubscribe(None, &subscription.topic, now);
                }
            }
            Err(error) => {
                if let Some(subscription) = subscription
                    && request.id.is_none()
                    && self.subscriptions.is_wanted(subscription)
                {
                    let (topic, error) = (subscription.topic.clone(), error.clone());
                    self.mail.events.push(Event::Unsubscribed { topic, error });
                }
                if !late {
                    self.fail(&request, error);
                }
            }
        }
        if subscription.is_some() && request.id.is_none() {
            self.subscriptions.answered(&mut self.mail);
        }
    }
}

/// Room for what is missing, but not at once for all that a server merely announces.
fn reserve(buffer: &mut BytesMut, missing: usize) {
    const AT_LEAST: usize = 4 << 10;
    const NEW: usize = 64 << 10;
    const AT_MOST: usize = 16 << 20;
    if buffer.capacity() - buffer.len() < missing.clamp(AT_LEAST, AT_MOST) {
        buffer.reserve(missing.clamp(NEW, AT_MOST));
    }
}

/// Without what it sent, which may be somebody's data.
fn lost_sync(place: &str) -> Error {
    Error::ours("CONNECTION", format!("{place} sent what is not Redis's protocol"))
}

/// Whether the server refused to write, as a replica does.
fn is_readonly(frame: &[u8], shape: Shape) -> bool {
    let is_readonly = |reply: &Reply| matches!(reply, Reply::Error(error) if error.code == "READONLY");
    match shape {
        // Looked for first, as it is rare, and parsing is not for this thread.
        Shape::Transaction if memchr::memmem::find(frame, b"-READONLY ").is_some() => {
            let replies = resp::parse_all(frame).unwrap_or_default();
            let executed = replies.last().map(|reply| match reply {
                Reply::Array(results) => results.iter().any(is_readonly),
                _ => false,
            });
            executed == Some(true) || replies.iter().any(is_readonly)
        }
        Shape::Transaction => false,
        _ => resp::is_error(frame, "READONLY "),
    }
}
