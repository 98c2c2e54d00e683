//! A socket without TLS. Where it can, JavaScript's thread looks after it: a reply that another thread reads first costs two wake-ups of
//! an idle core. What is much the I/O thread reads meanwhile, as it does all that nobody else looks after.

use std::convert::Infallible;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::connection::Eager;
use super::link::Link;
use super::pipeline::Pipeline;
use super::share::{self, Pace, Share};
use super::transport::{closed, is_quiet, lost, quiet};
use crate::error::{Error, Reason};

/// A reply of which so much has come in goes on to be read where it is.
const LONG: usize = 64 << 10;

/// With so little at a time, waking JavaScript's thread for it takes longer than reading it.
const LITTLE: usize = 256;

/// After which time what could not be waited for is tried again.
const RETRY: Duration = Duration::from_millis(5);

pub enum Socket {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

/// A socket as tokio knows it, for as long as somebody waits for it there: tokio's thread wakes up for all that comes in.
pub enum Registered {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Who reads next.
enum Turn {
    /// Whoever comes, with what was read and belongs to replies that are not complete.
    Anyone(BytesMut),
    /// The I/O thread, which is about to.
    Handed(BytesMut),
    /// The I/O thread, which does.
    Taken,
    /// Nobody: it has failed, of which the I/O thread is to hear.
    Failed(Error),
    Over,
}

/// What came of looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// All was read, or nearly.
    Done,
    /// There is much: more than there was room for, or a reply that is longer.
    Much,
    /// The I/O thread reads.
    NotNow,
    Over,
}

pub struct Plain {
    socket: Socket,
    registered: Mutex<Weak<Registered>>,
    turn: Mutex<Turn>,
    /// Wakes the I/O thread: it may have something to do here.
    ours: Notify,
    /// Somebody else looks after the socket while there is little to read.
    is_looked_after: AtomicBool,
}

impl Plain {
    pub fn new(registered: Registered) -> io::Result<Self> {
        Ok(Self {
            socket: registered.into_socket()?,
            registered: Mutex::default(),
            turn: Mutex::new(Turn::Taken),
            ours: Notify::new(),
            is_looked_after: AtomicBool::new(false),
        })
    }

    pub fn registered(&self) -> io::Result<Arc<Registered>> {
        let mut cached = self.registered.lock();
        if let Some(registered) = cached.upgrade() {
            return Ok(registered);
        }
        let registered = Arc::new(self.socket.register()?);
        *cached = Arc::downgrade(&registered);
        Ok(registered)
    }

    #[cfg(unix)]
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Socket::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
            Socket::Unix(stream) => stream.as_fd().try_clone_to_owned(),
        }
    }

    /// From now on somebody looks whenever there is something to read.
    pub fn look_after(&self) {
        self.is_looked_after.store(true, Ordering::Relaxed);
        self.ours.notify_one();
    }

    /// Whether it is of use to look: to read, or to learn that all is over.
    pub fn may_look(&self) -> bool {
        matches!(*self.turn.lock(), Turn::Anyone(_) | Turn::Over)
    }

    /// Reads what is there, as far as there is `room` for it, and passes it on.
    pub fn look(&self, link: &Link, room: &mut [u8]) -> Look {
        let mut turn = self.turn.lock();
        let buffer = match &mut *turn {
            Turn::Anyone(buffer) => buffer,
            Turn::Handed(_) | Turn::Taken => return Look::NotNow,
            Turn::Failed(_) | Turn::Over => return Look::Over,
        };
        let received = match self.socket.read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Look::Done,
            Err(error) => Err(lost(&error)),
            Ok(0) => Err(closed()),
            Ok(count) => {
                buffer.extend_from_slice(&room[..count]);
                // A defect must end the connection, with an error for all that is asked of it, and not the looking.
                let receive = || link.received(buffer, Instant::now());
                let received = catch_unwind(AssertUnwindSafe(receive)).unwrap_or_else(|_| Err(defect()));
                received.map(|_| count.max(buffer.len()) >= room.len())
            }
        };
        match received {
            Ok(true) => Look::Much,
            Ok(false) => Look::Done,
            Err(error) => {
                *turn = Turn::Failed(error);
                self.ours.notify_one();
                Look::Over
            }
        }
    }

    /// Has the I/O thread read, until little is under way.
    pub fn hand_over(&self) {
        let mut turn = self.turn.lock();
        *turn = match mem::replace(&mut *turn, Turn::Over) {
            Turn::Anyone(buffer) => {
                self.ours.notify_one();
                Turn::Handed(buffer)
            }
            other => other,
        };
    }

    /// Reads on the I/O thread whatever is not read elsewhere, until the connection ends.
    pub async fn read(&self, link: &Link, mut buffer: BytesMut) -> Result<Infallible, Error> {
        // What came in with the greeting.
        link.received(&mut buffer, Instant::now())?;
        loop {
            match self.registered() {
                Ok(registered) => {
                    let pauses = self.read_much(link, &registered, &mut buffer).await?;
                    // Or this thread would wake up for all that comes in meanwhile.
                    drop(registered);
                    if pauses {
                        share::pause().await;
                        continue;
                    }
                }
                // Whoever looks goes on: it needs no other file, and there may be no more of them.
                Err(_) if self.is_looked_after.load(Ordering::Relaxed) => {}
                Err(error) => return Err(lost(&error)),
            }
            *self.turn.lock() = Turn::Anyone(buffer);
            link.look();
            buffer = self.handed().await?;
        }
    }

    /// Reads until little is under way, and somebody else may. True if it is to go on here after a pause.
    async fn read_much(
        &self,
        link: &Link,
        registered: &Registered,
        buffer: &mut BytesMut,
    ) -> Result<bool, Error> {
        let (mut share, mut pace) = (Share::default(), Pace::default());
        let is_little =
            |buffer: &BytesMut| buffer.len() < LONG && link.with(|pipeline| pipeline.is_calm(Instant::now()));
        while !self.is_looked_after.load(Ordering::Relaxed) || !is_little(buffer) {
            let read = tokio::select! {
                read = registered.read(buffer) => read.map_err(|error| lost(&error))?,
                () = self.ours.notified() => continue,
            };
            if read == 0 {
                return Err(closed());
            }
            if read < LITTLE && link.with(|pipeline| pipeline.is_crowded()) {
                // Where cores are short the server has answered more by then, and all is handed over at once. What goes wrong is met again.
                yield_now();
                let _ = registered.try_read(buffer);
            }
            let now = Instant::now();
            let is_all = buffer.len() < buffer.capacity();
            let unwanted = link.received(buffer, now)?;
            share.spend(read, now).await;
            if pace.pauses(unwanted, is_all, now) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn handed(&self) -> Result<BytesMut, Error> {
        loop {
            self.ours.notified().await;
            let mut turn = self.turn.lock();
            *turn = match mem::replace(&mut *turn, Turn::Taken) {
                Turn::Handed(buffer) => return Ok(buffer),
                Turn::Failed(error) => return Err(error),
                other => other,
            };
        }
    }

    /// Writes on the I/O thread whatever is not written elsewhere, until the connection ends.
    pub async fn write(&self, link: &Link) -> Result<Infallible, Error> {
        let mut share = Share::default();
        loop {
            if link.with(Pipeline::must_look_first) {
                quiet(|| self.is_quiet(), || self.hand_over()).await;
            }
            let pieces = link.with(Pipeline::unsent);
            if pieces.is_empty() {
                link.unsent.notified().await;
                continue;
            }
            // This thread is awake now, and so reads as well.
            self.hand_over();
            let written = self.write_some(&pieces).await;
            let written = written.map_err(|error| lost(&error))?;
            let now = Instant::now();
            if written > 0 {
                link.with(|pipeline| pipeline.taken(written));
            }
            share.spend(written, now).await;
        }
    }

    /// Writes some of the pieces, of which there is one at least.
    pub async fn write_some(&self, pieces: &[Bytes]) -> io::Result<usize> {
        match self.socket.write(pieces) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
        match self.registered() {
            Ok(registered) => registered.write(|| self.socket.write(pieces)).await,
            // There may be no more files: that ends no connection that there is.
            Err(_) => {
                sleep(RETRY).await;
                Ok(0)
            }
        }
    }

    /// Whoever still holds the socket keeps the connection no longer.
    pub fn close(&self) {
        // One that the server has closed is closed.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Says that no more is sent.
    pub fn farewell(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Nobody else looks any more.
    pub fn end(&self) {
        *self.turn.lock() = Turn::Over;
    }
}

fn defect() -> Error {
    Error::because(
        Reason::Internal,
        "internal error in covara-kv: please report it with the output above",
    )
}

impl Eager for Plain {
    fn try_write(&self, pieces: &[Bytes]) -> usize {
        // What goes wrong, whoever reads or writes on the I/O thread meets as well.
        self.socket.write(pieces).unwrap_or(0)
    }

    fn is_quiet(&self) -> bool {
        match &self.socket {
            Socket::Tcp(stream) => is_quiet(&SockRef::from(stream)),
            #[cfg(unix)]
            Socket::Unix(stream) => is_quiet(&SockRef::from(stream)),
        }
    }
}

impl Socket {
    fn register(&self) -> io::Result<Registered> {
        match self {
            Self::Tcp(stream) => tokio::net::TcpStream::from_std(stream.try_clone()?).map(Registered::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => tokio::net::UnixStream::from_std(stream.try_clone()?).map(Registered::Unix),
        }
    }

    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => { stream }.read(room),
            #[cfg(unix)]
            Self::Unix(stream) => { stream }.read(room),
        }
    }

    fn write(&self, pieces: &[Bytes]) -> io::Result<usize> {
        let slices: SmallVec<[IoSlice; 16]> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        match self {
            Self::Tcp(stream) => { stream }.write_vectored(&slices),
            #[cfg(unix)]
            Self::Unix(stream) => { stream }.write_vectored(&slices),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Registered {
    fn into_socket(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Socket::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => stream.into_std().map(Socket::Unix),
        }
    }

    pub async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            match self {
                Self::Tcp(stream) => stream.readable().await?,
                #[cfg(unix)]
                Self::Unix(stream) => stream.readable().await?,
            }
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut room = buffer.limit(share::AT_ONCE);
        match self {
            Self::Tcp(stream) => stream.try_read_buf(&mut room),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_read_buf(&mut room),
        }
    }

    async fn write(&self, mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            let written = match self {
                Self::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_io(Interest::WRITABLE, &mut write)
                }
                #[cfg(unix)]
                Self::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_io(Interest::WRITABLE, &mut write)
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }
}
