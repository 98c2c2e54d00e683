//! What carries the bytes of one connection.
//!
//! Everything else (requests, deadlines, connecting again) neither knows nor asks how bytes travel: another transport gives the
//! pipeline what it received, writes what is unsent, and offers an `Eager` if it can.

use std::convert::Infallible;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use socket2::{SockRef, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio_rustls::client::TlsStream;

use super::connection::Eager;
use super::link::Link;
use super::pipeline::Pipeline;
use super::plain::{Plain, Registered};
use super::share::{self, Pace, Share};
use crate::error::{Error, Reason};

/// How long a server may take to see that we are leaving.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long what lies in the socket may hold up what is to be written.
const LOOK: Duration = Duration::from_millis(100);

pub struct Transport {
    stream: Stream,
    /// What was read and belongs to replies that are not complete.
    pub buffer: BytesMut,
}

enum Stream {
    /// Registered while it is waited for here.
    Plain(Arc<Plain>, Option<Arc<Registered>>),
    /// There bytes are encrypted in one place, so that it is the I/O thread's alone.
    Tls {
        reader: ReadHalf<TlsStream<TcpStream>>,
        writer: WriteHalf<TlsStream<TcpStream>>,
        /// The socket below, to look into. None if the process can open no more files.
        socket: Option<Socket>,
    },
}

impl Transport {
    pub fn plain(registered: Registered) -> io::Result<Self> {
        Ok(Self::new(Stream::Plain(Arc::new(Plain::new(registered)?), None)))
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Self {
        let socket = SockRef::from(stream.get_ref().0).try_clone().ok();
        let (reader, writer) = tokio::io::split(stream);
        Self::new(Stream::Tls {
            reader,
            writer,
            socket,
        })
    }

    fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(64 << 10),
        }
    }

    /// How other threads may write.
    pub fn eager(&self) -> Option<Arc<dyn Eager>> {
        match &self.stream {
            Stream::Plain(plain, _) => Some(plain.clone()),
            Stream::Tls { .. } => None,
        }
    }

    /// Reads into the buffer. 0 at the end.
    pub async fn read(&mut self) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(plain, registered) => {
                let registered = match registered {
                    Some(registered) => registered,
                    none => none.insert(plain.registered()?),
                };
                registered.read(&mut self.buffer).await
            }
            Stream::Tls { reader, .. } => reader.read_buf(&mut self.buffer).await,
        }
    }

    /// Writes some of it.
    pub async fn write(&mut self, bytes: &Bytes) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(plain, _) => plain.write_some(std::slice::from_ref(bytes)).await,
            Stream::Tls { writer, .. } => {
                let written = writer.write(bytes).await?;
                // TLS may hold back what it has taken.
                writer.flush().await.map(|()| written)
            }
        }
    }

    /// Carries bytes until the connection ends, and gives the reason; it never ends by itself.
    pub async fn carry(&mut self, link: &Link) -> Error {
        let buffer = &mut self.buffer;
        let ended = match &mut self.stream {
            Stream::Plain(plain, registered) => {
                registered.take();
                let buffer = std::mem::take(buffer);
                let _offer = link.offer(plain);
                tokio::select! {
                    ended = plain.read(link, buffer) => ended,
                    ended = plain.write(link) => ended,
                }
            }
            Stream::Tls {
                reader,
                writer,
                socket,
            } => tokio::select! {
                ended = read_tls(link, reader, buffer) => ended,
                ended = write_tls(link, writer, socket.as_ref()) => ended,
            },
        };
        match ended {
            Err(error) => error,
        }
    }

    /// Says farewell and waits until the server has closed too: then it has forgotten the connection and its subscriptions.
    pub async fn close(mut self) {
        let farewell = async {
            match &mut self.stream {
                Stream::Plain(plain, _) => {
                    plain.end();
                    plain.farewell()?;
                }
                Stream::Tls { writer, .. } => writer.shutdown().await?,
            }
            while self.read().await? > 0 {
                self.buffer.clear();
            }
            io::Result::Ok(())
        };
        // A server that does not answer is left all the same.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Stream::Plain(plain, _) = &self.stream {
            plain.end();
            plain.close();
        }
    }
}

async fn read_tls(
    link: &Link,
    reader: &mut ReadHalf<TlsStream<TcpStream>>,
    buffer: &mut BytesMut,
) -> Result<Infallible, Error> {
    let (mut share, mut pace) = (Share::default(), Pace::default());
    // First what came in with the greeting.
    let mut read = buffer.len();
    loop {
        let now = Instant::now();
        let is_all = buffer.len() < buffer.capacity();
        let unwanted = link.received(buffer, now)?;
        share.spend(read, now).await;
        if pace.pauses(unwanted, is_all, now) {
            share::pause().await;
        }
        let mut room = buffer.limit(share::AT_ONCE);
        read = reader.read_buf(&mut room).await.map_err(|error| lost(&error))?;
        if read == 0 {
            return Err(closed());
        }
    }
}

/// One piece after the other: TLS makes records of its own size.
async fn write_tls(
    link: &Link,
    writer: &mut WriteHalf<TlsStream<TcpStream>>,
    socket: Option<&Socket>,
) -> Result<Infallible, Error> {
    let mut share = Share::default();
    loop {
        if link.with(Pipeline::must_look_first) {
            let is_quiet = || socket.is_none_or(is_quiet);
            quiet(is_quiet, || {}).await;
        }
        let pieces = link.with(Pipeline::unsent);
        let Some(piece) = pieces.first() else {
            link.unsent.notified().await;
            continue;
        };
        let written = writer.write(piece).await.map_err(|error| {
            // Some of it may have gone out before it failed.
            link.with(|pipeline| pipeline.taken(piece.len()));
            lost(&error)
        })?;
        // Before what may wait: bytes that are not counted would be sent again after a loss.
        let now = Instant::now();
        link.with(|pipeline| pipeline.taken(written));
        writer.flush().await.map_err(|error| lost(&error))?;
        share.spend(written, now).await;
    }
}

/// Whether nothing lies in a socket that was not read: neither bytes nor the end.
pub fn is_quiet(socket: &Socket) -> bool {
    let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Has what lies in the socket read before anything is written: if that is the server's farewell, nothing that follows it was run.
pub async fn quiet(is_quiet: impl Fn() -> bool, read: impl Fn()) {
    let read_all = async {
        while !is_quiet() {
            read();
            yield_now().await;
        }
    };
    // A server that goes on sending is alive.
    let _ = tokio::time::timeout(LOOK, read_all).await;
}

pub fn closed() -> Error {
    Error::because(Reason::Ended, "the server closed it")
}

pub fn lost(error: &io::Error) -> Error {
    Error::because(Reason::Ended, error.to_string())
}
