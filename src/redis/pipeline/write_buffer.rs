//! Bytes that wait for the socket.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// From this size on bytes are sent from where they lie; smaller ones are put together.
const LARGE: usize = 4 << 10;
/// How much is put together: about what a socket takes at once.
const PIECE: usize = 64 << 10;
/// How many pieces are written by one system call: each call costs as much as copying several KB.
const AT_ONCE: usize = 16;

#[derive(Default)]
pub struct WriteBuffer {
    pieces: VecDeque<Bytes>,
    /// Comes after the pieces.
    tail: BytesMut,
    /// How many bytes have ever been put in.
    total: u64,
    /// How many of them the socket has taken.
    taken: u64,
}

impl WriteBuffer {
    pub fn push(&mut self, bytes: &Bytes) {
        self.total += bytes.len() as u64;
        if bytes.len() >= LARGE {
            self.seal();
            self.pieces.push_back(bytes.clone());
        } else {
            self.tail.extend_from_slice(bytes);
            if self.tail.len() >= PIECE {
                self.seal();
            }
        }
    }

    /// What is to be written next, in pieces; empty if that is nothing.
    pub fn next(&mut self) -> Vec<Bytes> {
        if self.pieces.len() < AT_ONCE {
            self.seal();
        }
        self.pieces.iter().take(AT_ONCE).cloned().collect()
    }

    /// The socket took so many bytes of that.
    pub fn advance(&mut self, mut count: usize) {
        self.taken += count as u64;
        while let Some(front) = self.pieces.front_mut() {
            let taken = count.min(front.len());
            front.advance(taken);
            count -= taken;
            if !front.is_empty() {
                break;
            }
            self.pieces.pop_front();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.total == self.taken
    }

    pub fn len(&self) -> usize {
        (self.total - self.taken) as usize
    }

    /// Where in the stream the next byte that is put in will be.
    pub fn position(&self) -> u64 {
        self.total
    }

    /// Whether the socket took nothing from this position on.
    pub fn is_unsent(&self, position: u64) -> bool {
        self.taken <= position
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}
