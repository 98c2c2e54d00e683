//! What the transport is to write: all that is not written inline.

use std::mem;

use bytes::Bytes;

use crate::redis::pipeline::{Machine, Pipeline};

impl<M: Machine> Pipeline<M> {
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
    pub fn note_written(&mut self, count: usize) {
        if let Some(connection) = &mut self.connection {
            connection.write_buffer.advance(count);
        }
    }
}
