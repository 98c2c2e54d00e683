//! A socket without TLS, which two threads share. JavaScript's thread reads it where it can: a reply that another thread reads first
//! costs two wake-ups of an idle core. The I/O thread reads when there is much, and whenever nothing polls the socket.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::error::Error;
use crate::redis::connection::pace::{self, Pace};
use crate::redis::connection::shared::Shared;
use crate::redis::connection::stream::{Registered, Stream, drain};
use crate::redis::connection::time_slice::TimeSlice;
use crate::redis::error::{closed, defect, lost};
use crate::redis::pipeline::in_flight::InlineWrite;
use crate::redis::pipeline::{Machine, Pipeline};

/// A reply of which this much has come in is read to its end by the same thread.
const LONG: usize = 64 << 10;

/// To wake JavaScript's thread for fewer bytes takes longer than reading them.
const FEW_BYTES: usize = 256;

/// How long to wait before registering the socket is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Which thread may read. The owner holds the bytes of the replies that are not complete, so that no byte is read twice or out of order.
enum ReadOwner {
    /// Any thread may read next.
    Free(BytesMut),
    /// JavaScript's thread has passed it on, and the I/O thread has not taken it yet.
    Yielded(BytesMut),
    IoThread,
    /// Reading has failed: the I/O thread is to hear of it.
    Failed(Error),
    Closed,
}

/// Outcome of one read attempt by JavaScript's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAttempt {
    /// Little was read: JavaScript's thread goes on.
    Little,
    /// The room was filled, or a reply is longer than the room.
    Much,
    /// The I/O thread owns the reads.
    NotOwner,
    Closed,
}

pub struct SharedSocket {
    stream: Stream,
    registered: Mutex<Weak<Registered>>,
    owner: Mutex<ReadOwner>,
    /// Wakes the I/O thread: reads may be its own, or polling has begun.
    io_thread: Notify,
    /// JavaScript's thread polls the socket, and reads while there is little.
    is_polled: AtomicBool,
}

impl SharedSocket {
    pub fn new(registered: Registered) -> io::Result<Self> {
        Ok(Self {
            stream: registered.into_stream()?,
            registered: Mutex::default(),
            owner: Mutex::new(ReadOwner::IoThread),
            io_thread: Notify::new(),
            is_polled: AtomicBool::new(false),
        })
    }

    /// Registers the socket with tokio, for as long as the result is held.
    pub fn registered(&self) -> io::Result<Arc<Registered>> {
        let mut cached = self.registered.lock();
        if let Some(registered) = cached.upgrade() {
            return Ok(registered);
        }
        let registered = Arc::new(self.stream.register()?);
        *cached = Arc::downgrade(&registered);
        Ok(registered)
    }

    #[cfg(unix)]
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.stream.duplicate()
    }

    /// JavaScript's thread polls the socket from this call on.
    pub fn begin_polling(&self) {
        self.is_polled.store(true, Ordering::Relaxed);
        self.io_thread.notify_one();
    }

    /// Whether a read attempt would read, or learn that the connection has ended.
    pub fn may_read(&self) -> bool {
        matches!(*self.owner.lock(), ReadOwner::Free(_) | ReadOwner::Closed)
    }

    /// Reads what is there, as far as there is `room` for it, and passes it to the pipeline.
    pub fn try_read<M: Machine>(&self, shared: &Shared<M>, room: &mut [u8]) -> ReadAttempt {
        let mut owner = self.owner.lock();
        let buffer = match &mut *owner {
            ReadOwner::Free(buffer) => buffer,
            ReadOwner::Yielded(_) | ReadOwner::IoThread => return ReadAttempt::NotOwner,
            ReadOwner::Failed(_) | ReadOwner::Closed => return ReadAttempt::Closed,
        };
        let received = match self.stream.read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadAttempt::Little,
            Err(error) => Err(lost(&error)),
            Ok(0) => Err(closed()),
            Ok(count) => {
                buffer.extend_from_slice(&room[..count]);
                // A defect must end the connection, with an error for each request, and not the polling.
                let receive = || shared.received(buffer, Instant::now());
                let received = catch_unwind(AssertUnwindSafe(receive)).unwrap_or_else(|_| Err(defect()));
                received.map(|_| count.max(buffer.len()) >= room.len())
            }
        };
        match received {
            Ok(true) => ReadAttempt::Much,
            Ok(false) => ReadAttempt::Little,
            Err(error) => {
                *owner = ReadOwner::Failed(error);
                self.io_thread.notify_one();
                ReadAttempt::Closed
            }
        }
    }

    /// Has the I/O thread read, until the connection is idle.
    pub fn yield_read(&self) {
        let mut owner = self.owner.lock();
        *owner = match mem::replace(&mut *owner, ReadOwner::Closed) {
            ReadOwner::Free(buffer) => {
                self.io_thread.notify_one();
                ReadOwner::Yielded(buffer)
            }
            other => other,
        };
    }

    /// The I/O thread's reads, until the connection ends.
    pub async fn read<M: Machine>(
        &self,
        shared: &Shared<M>,
        mut buffer: BytesMut,
    ) -> Result<Infallible, Error> {
        // What came in with the handshake.
        shared.received(&mut buffer, Instant::now())?;
        loop {
            match self.registered() {
                Ok(registered) => {
                    let pauses = self.read_while_busy(shared, &registered, &mut buffer).await?;
                    // While it is registered, this thread wakes up for every reply that JavaScript's thread reads.
                    drop(registered);
                    if pauses {
                        pace::pause().await;
                        continue;
                    }
                }
                // JavaScript's thread goes on: it needs no other file, and the process may have no more of them.
                Err(_) if self.is_polled.load(Ordering::Relaxed) => {}
                Err(error) => return Err(lost(&error)),
            }
            *self.owner.lock() = ReadOwner::Free(buffer);
            shared.sink.poll_socket();
            buffer = self.take_over().await?;
        }
    }

    /// Reads until the connection is idle and JavaScript's thread may read. True if the I/O thread is to read on after a pause.
    async fn read_while_busy<M: Machine>(
        &self,
        shared: &Shared<M>,
        registered: &Registered,
        buffer: &mut BytesMut,
    ) -> Result<bool, Error> {
        let (mut slice, mut pace) = (TimeSlice::default(), Pace::default());
        let is_idle = |buffer: &BytesMut| {
            buffer.len() < LONG && shared.with(|pipeline| pipeline.is_idle(Instant::now()))
        };
        while !self.is_polled.load(Ordering::Relaxed) || !is_idle(buffer) {
            let read = tokio::select! {
                read = registered.read(buffer) => read.map_err(|error| lost(&error))?,
                () = self.io_thread.notified() => continue,
            };
            if read == 0 {
                return Err(closed());
            }
            if read < FEW_BYTES && shared.with(|pipeline| pipeline.is_busy()) {
                // Where cores are short the server has answered more by then, and one wake-up serves it all. The next read meets an error again.
                yield_now();
                let _ = registered.try_read(buffer);
            }
            let now = Instant::now();
            let is_all = buffer.len() < buffer.capacity();
            let unwanted = shared.received(buffer, now)?;
            slice.spend(read, now).await;
            if pace.pauses(unwanted, is_all, now) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until the I/O thread owns the reads.
    async fn take_over(&self) -> Result<BytesMut, Error> {
        loop {
            self.io_thread.notified().await;
            let mut owner = self.owner.lock();
            *owner = match mem::replace(&mut *owner, ReadOwner::IoThread) {
                ReadOwner::Yielded(buffer) => return Ok(buffer),
                ReadOwner::Failed(error) => return Err(error),
                other => other,
            };
        }
    }

    /// The I/O thread's writes, until the connection ends: all that is not written inline.
    pub async fn write<M: Machine>(&self, shared: &Shared<M>) -> Result<Infallible, Error> {
        let mut slice = TimeSlice::default();
        let pieces = || shared.with(Pipeline::unsent);
        loop {
            if shared.with(Pipeline::must_drain_first) {
                drain(|| self.is_drained(), || self.yield_read()).await;
            }
            if pieces().is_empty() {
                shared.unsent.notified().await;
                continue;
            }
            // This thread is awake for the write, and so reads as well.
            self.yield_read();
            let written = self.write_some(&pieces).await;
            let written = written.map_err(|error| lost(&error))?;
            let now = Instant::now();
            if written > 0 {
                shared.with(|pipeline| pipeline.note_written(written));
            }
            slice.spend(written, now).await;
        }
    }

    /// Writes a part of the pieces, which are asked for whenever the socket can take some: a connection that retires gives fewer of them.
    pub async fn write_some(&self, pieces: &(dyn Fn() -> Vec<Bytes> + Sync)) -> io::Result<usize> {
        match self.stream.write(&pieces()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
        match self.registered() {
            Ok(registered) => registered.write(|| self.stream.write(&pieces())).await,
            // The process may have no more files: that ends no connection that is open.
            Err(_) => {
                sleep(RETRY).await;
                Ok(0)
            }
        }
    }

    /// Ends the connection for each thread that still holds the socket.
    pub fn close(&self) {
        self.end_reading();
        // The server may have closed it before.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Begins a graceful shutdown: no more is sent, and only what is left to read keeps the connection open.
    pub fn shut_down(&self) -> io::Result<()> {
        self.end_reading();
        self.stream.shutdown(Shutdown::Write)
    }

    /// JavaScript's thread reads no more.
    fn end_reading(&self) {
        *self.owner.lock() = ReadOwner::Closed;
    }
}

impl InlineWrite for SharedSocket {
    fn try_write(&self, pieces: &[Bytes]) -> usize {
        // The I/O thread meets an error too, when it reads or writes.
        self.stream.write(pieces).unwrap_or(0)
    }

    fn is_drained(&self) -> bool {
        self.stream.is_drained()
    }
}

/// The socket of the connection that is open, for JavaScript's thread to poll.
#[derive(Default)]
pub struct SocketSlot(Mutex<Option<Arc<SharedSocket>>>);

/// Empties the slot when it is dropped.
pub struct SlotGuard<'a>(&'a SocketSlot);

impl SocketSlot {
    pub fn get(&self) -> Option<Arc<SharedSocket>> {
        self.0.lock().clone()
    }

    /// Fills the slot for as long as the guard is held.
    pub fn fill(&self, socket: &Arc<SharedSocket>) -> SlotGuard<'_> {
        *self.0.lock() = Some(socket.clone());
        SlotGuard(self)
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        self.0.0.lock().take();
    }
}
