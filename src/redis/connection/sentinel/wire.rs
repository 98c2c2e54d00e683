//! The connection to a Sentinel: commands, replies and events.

use bytes::{Buf, Bytes};

use crate::error::{Error, Reason};
use crate::redis::connection::transport::Transport;
use crate::redis::error::{closed, lost};
use crate::redis::protocol::encode;
use crate::redis::protocol::reply_end::Scanner;

pub const SWITCHED: &str = "+switch-master";
/// Its leader tells this once it has sent the promotion: about a second before any Sentinel names the new master.
pub const PROMOTING: &str = "+failover-state-wait-promotion";

/// The most bytes of a reply: SENTINEL SENTINELS has nearly 1 KB for each that was ever seen.
const LONGEST: usize = 1 << 20;

/// Commands and what comes back, one at a time.
pub struct Wire {
    transport: Transport,
    scanner: Scanner,
}

impl Wire {
    pub fn new(transport: Transport) -> Self {
        let scanner = Scanner::default();
        Self { transport, scanner }
    }

    pub async fn send(&mut self, words: &[&[u8]]) -> Result<(), Error> {
        let mut left = Bytes::from(encode::command(words));
        while !left.is_empty() {
            let written = self.transport.write(&left).await;
            left.advance(written.map_err(|error| lost(&error))?);
        }
        Ok(())
    }

    /// Not every user may: then the Sentinel is asked, and that is all.
    pub async fn subscribe(&mut self) -> Result<(), Error> {
        let channels = [SWITCHED, PROMOTING];
        self.send(&[b"SUBSCRIBE", channels[0].as_bytes(), channels[1].as_bytes()])
            .await?;
        let mut confirmed = 0;
        while confirmed < channels.len() {
            if !is_push(&self.frame().await?) {
                return Ok(());
            }
            confirmed += 1;
        }
        Ok(())
    }

    /// A reply or a push. May be dropped while it waits: nothing is lost by that.
    pub async fn frame(&mut self) -> Result<Bytes, Error> {
        loop {
            let buffer = &mut self.transport.buffer;
            match self.scanner.end(buffer) {
                Ok(Some(end)) => return Ok(buffer.split_to(end).freeze()),
                Ok(None) if buffer.len() < LONGEST => {}
                _ => return Err(unknown_answer()),
            }
            buffer.reserve(4 << 10);
            match self.transport.read().await {
                Ok(0) => return Err(closed()),
                Ok(_) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }
}

pub fn is_push(frame: &[u8]) -> bool {
    frame.first() == Some(&b'>')
}

pub fn unknown_answer() -> Error {
    Error::because(Reason::Protocol, "it gave an answer that no Sentinel gives")
}
