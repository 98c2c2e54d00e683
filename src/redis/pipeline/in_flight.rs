//! The requests in flight on one connection.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::redis::endpoint::Endpoint;
use crate::redis::moment::Moment;
use crate::redis::pipeline::write_buffer::WriteBuffer;
use crate::redis::protocol::reply_end::Scanner;
use crate::redis::request::Request;

/// Up to this many requests in flight, optimise for latency rather than CPU.
const LOW_WATERMARK: usize = 64;
/// How long the requests in flight must stay below the low watermark before the connection is idle. Callers whose
/// answers come in one read send their next requests together: between two such bursts few are in flight.
const IDLE: Duration = Duration::from_millis(100);
/// The longest inline write of a busy connection. To copy more into the socket would delay the caller.
const LONGEST_INLINE: usize = 32 << 10;
/// The longest inline write below the low watermark, where a hand-over to the I/O thread takes longer than the copy.
const LONGEST_INLINE_WHEN_IDLE: usize = 512 << 10;

/// After this much silence the server may have closed the connection: the socket is peeked into, which takes a microsecond.
const UNVERIFIED_AFTER: Duration = Duration::from_millis(1);

/// Writes to the socket on the caller's thread, without waiting.
pub trait InlineWrite: Send + Sync {
    /// How many bytes the socket took; 0 if its buffer is full.
    fn try_write(&self, pieces: &[Bytes]) -> usize;

    /// Whether the socket holds nothing unread: neither bytes nor the end of the stream.
    fn is_drained(&self) -> bool;
}

/// Whether a server takes writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerRole {
    Master,
    Replica,
    /// It did not say.
    #[default]
    Unknown,
}

/// What a server has said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The version of RESP that is spoken.
    pub resp: u32,
    /// `redis` or `valkey`. Unknown of a server before Redis 6.
    pub software: Option<String>,
    /// Unknown of a server before Redis 6.
    pub version: Option<String>,
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: Option<String>,
    pub role: ServerRole,
}

/// A connection whose handshake is complete.
pub struct Established {
    /// None where only the transport can write.
    pub inline_write: Option<Arc<dyn InlineWrite>>,
    pub endpoint: Endpoint,
    pub server: Server,
    /// How long it took to answer.
    pub round_trip: Duration,
}

impl fmt::Display for Established {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Server {
            resp,
            version,
            mode,
            role,
            ..
        } = &self.server;
        let version = version.as_deref().unwrap_or("an unknown version");
        let role = match role {
            ServerRole::Master => "master",
            ServerRole::Replica => "replica",
            ServerRole::Unknown => "of unknown role",
        };
        write!(formatter, "{version}, {role}, RESP {resp}")?;
        if let Some(mode) = mode {
            write!(formatter, ", {mode}")?;
        }
        write!(formatter, ", round trip {} µs", self.round_trip.as_micros())
    }
}

/// One connection, as the pipeline sees it.
pub struct InFlight {
    pub write_buffer: WriteBuffer,
    /// In the order in which the server answers.
    pub sent: VecDeque<Sent>,
    /// How many requests may be in flight.
    pub most: usize,
    /// How many at the front of `sent` need no further check of their deadlines: each was missed, or nobody awaits its answer.
    pub deadlines_checked: usize,
    /// Whether the deadlines of `sent` ascend, so that the front is missed first.
    pub in_order: bool,
    pub scanner: Scanner,
    /// What the buffer holds for the front of `sent`.
    pub complete: CompleteReplies,
    /// Since when it is there.
    pub since: Moment,
    /// When its silence began: the server last sent anything then, or began to owe a reply. Bytes that the kernel takes prove nothing of the server.
    pub silent_since: Instant,
    /// When anything was last received.
    pub received: Instant,
    /// Where a gap begins if the connection is lost now: at the last read but one. What the last read brought may have come in right after it, and
    /// the end of the stream right behind that: a busy thread reads both late.
    pub gap_from: Instant,
    pub inline_write: Option<Arc<dyn InlineWrite>>,
    /// The transport is writing: no inline write until all is taken.
    pub writing: bool,
    /// When the requests in flight were last above the low watermark.
    busy: Option<Instant>,
    pub server: Server,
    /// Another connection replaces it: no request is begun, and it ends once all is answered.
    pub retiring: bool,
    /// The server may have closed it during silence: the socket is peeked into before the next write.
    pub unverified: bool,
    /// How many requests have been answered.
    pub answered: u64,
}

/// Replies to one request that have come in while others are missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompleteReplies {
    pub count: usize,
    /// Where the last one ends in the buffer.
    pub end: usize,
}

/// A request that was sent and has no reply yet.
#[derive(Clone)]
pub struct Sent {
    pub request: Request,
    /// None once it has missed it: its reply is dropped.
    pub deadline: Option<Moment>,
    /// Where in the stream of bytes it begins.
    pub position: u64,
}

impl Sent {
    /// Whether a caller awaits its answer.
    pub fn is_awaited(&self) -> bool {
        self.request.id.is_some() && self.deadline.is_some()
    }
}

impl InFlight {
    /// Something was read.
    pub fn receive(&mut self, now: Instant) {
        if now > self.received {
            self.gap_from = self.received;
        }
        (self.silent_since, self.received) = (now, now);
    }

    pub fn new(established: Established, now: Instant) -> Self {
        Self {
            write_buffer: WriteBuffer::default(),
            sent: VecDeque::new(),
            most: usize::MAX,
            deadlines_checked: 0,
            in_order: true,
            scanner: Scanner::default(),
            complete: CompleteReplies::default(),
            since: now.into(),
            silent_since: now,
            received: now,
            gap_from: now,
            inline_write: established.inline_write,
            writing: false,
            busy: None,
            server: established.server,
            retiring: false,
            unverified: false,
            answered: 0,
        }
    }

    /// Sends a request, which `write` writes to the buffer.
    pub fn push(
        &mut self,
        mut request: Request,
        deadline: Moment,
        now: Instant,
        write: impl FnOnce(&mut Request, &mut WriteBuffer),
    ) {
        if self.sent.is_empty() {
            self.unverified |= now.saturating_duration_since(self.received) >= UNVERIFIED_AFTER;
            self.silent_since = now;
        }
        if self.sent.len() >= self.low_watermark() {
            self.busy = Some(now);
        }
        let position = self.write_buffer.position();
        write(&mut request, &mut self.write_buffer);
        // A script that is sent again comes behind later calls.
        let last = self.sent.back().and_then(|sent| sent.deadline);
        self.in_order &= last.is_none_or(|last| last <= deadline);
        self.sent.push_back(Sent {
            request,
            deadline: Some(deadline),
            position,
        });
    }

    pub fn is_idle(&self, now: Instant) -> bool {
        let has_been = |busy: Instant| now.saturating_duration_since(busy) >= IDLE;
        self.write_buffer.is_empty() && !self.is_busy() && self.busy.is_none_or(has_been)
    }

    /// Marks and returns the requests that have missed their deadlines.
    pub fn miss_deadlines(&mut self, now: Instant) -> Vec<Request> {
        let (mut missed, now) = (Vec::new(), Moment::from(now));
        let start = if self.in_order { self.deadlines_checked } else { 0 };
        for sent in self.sent.range_mut(start..) {
            let is_due = sent.deadline.is_some_and(|deadline| deadline <= now);
            if self.in_order && sent.is_awaited() && !is_due {
                break;
            }
            if sent.is_awaited() && is_due {
                sent.deadline = None;
                missed.push(sent.request.clone());
            }
            self.deadlines_checked += usize::from(self.in_order);
        }
        missed
    }

    /// When the next deadline will be missed.
    pub fn next_deadline(&self) -> Option<Instant> {
        let awaited = |sent: &&Sent| sent.is_awaited();
        let deadline = |sent: &Sent| sent.deadline;
        let next = if self.in_order {
            self.sent.get(self.deadlines_checked).and_then(deadline)
        } else {
            self.sent.iter().filter(awaited).filter_map(deadline).min()
        };
        next.map(Instant::from)
    }

    /// Removes the request that was sent first.
    #[inline]
    pub fn pop(&mut self) -> Option<Sent> {
        self.deadlines_checked = self.deadlines_checked.saturating_sub(1);
        let first = self.sent.pop_front();
        self.answered += 1;
        self.in_order |= self.sent.is_empty();
        first
    }

    /// Removes the requests of which the socket has taken nothing, and their bytes.
    pub fn take_unsent(&mut self) -> VecDeque<Sent> {
        let is_begun = |sent: &Sent| !self.write_buffer.is_unsent(sent.position);
        let begun = self.sent.partition_point(is_begun);
        let unsent = self.sent.split_off(begun);
        if let Some(first) = unsent.front() {
            self.write_buffer.truncate(first.position);
        }
        self.deadlines_checked = self.deadlines_checked.min(begun);
        unsent
    }

    /// Whether the window has room for a request. A request that may end the connection goes alone.
    pub fn has_room(&self, request: &Request) -> bool {
        let is_alone = || self.sent.front().is_some_and(|first| first.request.suspected);
        self.sent.is_empty() || self.sent.len() < self.most && !request.suspected && !is_alone()
    }

    /// Whether a quarter of the window is free. A waiting request for each reply would cost a system call each.
    pub fn has_much_room(&self) -> bool {
        self.sent.len() <= self.most - self.most / 4
    }

    /// Whether more requests are in flight than the low watermark.
    pub fn is_busy(&self) -> bool {
        self.sent.len() > self.low_watermark()
    }

    /// By the number of requests and the length of their replies.
    fn low_watermark(&self) -> usize {
        LOW_WATERMARK.min(self.most / 2)
    }

    /// Writes inline what the socket takes without waiting.
    pub fn write(&mut self) {
        let Some(inline_write) = self.inline_write.as_ref() else {
            return;
        };
        let most = match self.is_busy() {
            false => LONGEST_INLINE_WHEN_IDLE,
            // The thread that reads writes next.
            true if self.scanner.is_halfway() => 0,
            true => LONGEST_INLINE,
        };
        if self.writing || self.write_buffer.len() > most {
            return;
        }
        // The I/O thread reads first what the socket holds.
        if self.unverified && !self.write_buffer.is_empty() && !inline_write.is_drained() {
            return;
        }
        self.unverified = false;
        while !self.write_buffer.is_empty() {
            let pieces = self.write_buffer.next();
            let taken = inline_write.try_write(&pieces);
            self.write_buffer.advance(taken);
            if taken < pieces.iter().map(Bytes::len).sum() {
                break;
            }
        }
    }
}
