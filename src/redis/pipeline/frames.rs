//! Where what was received ends: frames, each of them all replies to one request, or one message.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Reason};
use crate::redis::pipeline::in_flight::CompleteReplies;
use crate::redis::pipeline::{Machine, Pipeline, ReplyPart};
use crate::redis::protocol::decode;
use crate::redis::protocol::reply_end::{MAX_LINE, Unreadable};
use crate::reply::Reply;

impl<M: Machine> Pipeline<M> {
    /// Takes complete frames off the front of the buffer, and gives how many messages were unwanted. An error ends the connection.
    pub fn received(&mut self, buffer: &mut BytesMut, now: Instant) -> Result<usize, Error> {
        let skipped = M::receive(self, buffer, now)?;
        self.send_waiting(now);
        self.retired().map_or(Ok(skipped), Err)
    }

    /// Why a connection that retires ends: all is answered.
    pub(super) fn retired(&self) -> Option<Error> {
        let connection = self.connection.as_ref();
        connection.filter(|connection| connection.retiring && connection.sent.is_empty())?;
        let message = match &self.redirect {
            Some(master) => format!("{} has become a replica of {master}", self.peer()),
            None => "another connection takes its place".to_owned(),
        };
        Some(Error::because(Reason::Replaced, message))
    }

    /// Takes a complete frame off the front of the buffer. An error ends the connection.
    pub fn next_frame(&mut self, buffer: &mut BytesMut, now: Instant) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(None);
            };
            connection.receive(now);
            let CompleteReplies { count, end: start } = connection.complete;
            let end = match connection.scanner.end(&buffer[start..]) {
                Ok(Some(end)) => start + end,
                Ok(None) if buffer.len() <= self.limits.max_reply => {
                    let missing = connection.scanner.missing(&buffer[start..]);
                    reserve(buffer, missing);
                    return Ok(None);
                }
                Ok(None) => return Err(self.too_large(Unreadable::TooLarge)),
                Err(Unreadable::Malformed) => return Err(lost_sync(self.peer())),
                Err(unreadable) => return Err(self.too_large(unreadable)),
            };
            let reply = &buffer[start..end];
            let front = connection.sent.front().map(|sent| &sent.request);
            match M::reply_part(reply, count, front) {
                ReplyPart::Complete => {
                    connection.complete = CompleteReplies::default();
                    return Ok(Some(buffer.split_to(end).freeze()));
                }
                ReplyPart::Partial => {
                    connection.complete = CompleteReplies {
                        count: count + 1,
                        end,
                    }
                }
                ReplyPart::Push if count == 0 => buffer.advance(end),
                ReplyPart::Push => connection.complete.end = end,
                ReplyPart::Unasked => return Err(unasked(self.peer(), reply)),
            }
        }
    }

    fn too_large(&self, what: Unreadable) -> Error {
        let endpoint = self.peer();
        let message = match what {
            Unreadable::LongLine => format!("{endpoint} sent a line of more than {MAX_LINE} bytes"),
            Unreadable::HugeString => format!("{endpoint} announced a string of more than 512 MB"),
            _ => format!(
                "{endpoint} sent a reply of more than {} bytes (maxReplySize)",
                self.limits.max_reply
            ),
        };
        Error::because(Reason::ReplyTooLarge, message)
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

/// A server that closes the connection may say why.
fn unasked(endpoint: &str, reply: &[u8]) -> Error {
    let last_words = reply.starts_with(b"-").then(|| decode::parse(reply));
    if let Some(Ok(Reply::Error(error)) | Err(error)) = last_words {
        return error;
    }
    let message = format!("{endpoint} sent a reply to no command");
    Error::because(Reason::Protocol, message)
}
