//! Bytes that wait for the socket.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// From this size on bytes are sent without a copy; smaller ones are joined.
const LARGE: usize = 4 << 10;
/// The size of a joined piece: about what a socket takes at once.
const PIECE: usize = 64 << 10;
/// How many pieces are written by one system call: each call costs as much as copying several KB.
const AT_ONCE: usize = 16;

#[derive(Default)]
pub struct WriteBuffer {
    pieces: VecDeque<Bytes>,
    /// Comes after the pieces.
    tail: BytesMut,
    /// How many bytes were ever pushed.
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

    /// The next pieces to write; empty if there are none.
    pub fn next(&mut self) -> Vec<Bytes> {
        if self.pieces.len() < AT_ONCE {
            self.seal();
        }
        self.pieces.iter().take(AT_ONCE).cloned().collect()
    }

    /// The socket has taken this many bytes.
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

    /// The position of the next byte in the stream.
    pub fn position(&self) -> u64 {
        self.total
    }

    /// Whether the socket has taken nothing from this position on.
    pub fn is_unsent(&self, position: u64) -> bool {
        self.taken <= position
    }

    /// Drops what was pushed from a position on, of which the socket has taken nothing.
    pub fn truncate(&mut self, position: u64) {
        self.seal();
        self.total = position;
        let mut left = self.len();
        for piece in &mut self.pieces {
            piece.truncate(left);
            left -= piece.len();
        }
        self.pieces.retain(|piece| !piece.is_empty());
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}
