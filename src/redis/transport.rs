//! What carries the bytes of one connection: a socket on tokio's thread, to which JavaScript's thread may write too.
//!
//! Everything else (requests, deadlines, connecting again) neither knows nor asks how bytes travel: another transport gives the
//! pipeline what it received, writes what is unsent, and offers an `Eager` if it can.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use super::connection::Eager;
use super::link::Link;
use super::pipeline::Pipeline;
use crate::error::Error;

/// How long a server may take to see that we are leaving.
const FAREWELL: Duration = Duration::from_secs(1);

pub struct Transport {
    pub reader: Reader,
    pub writer: Writer,
    /// What was read and belongs to replies that are not complete.
    pub buffer: BytesMut,
}

pub enum Reader {
    Plain(Arc<Socket>),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

pub enum Writer {
    Plain(Arc<Socket>),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

pub enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Transport {
    pub fn plain(socket: Socket) -> Self {
        let socket = Arc::new(socket);
        Self {
            reader: Reader::Plain(socket.clone()),
            writer: Writer::Plain(socket),
            buffer: BytesMut::with_capacity(64 << 10),
        }
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: Reader::Tls(reader),
            writer: Writer::Tls(writer),
            buffer: BytesMut::with_capacity(64 << 10),
        }
    }

    /// How other threads may write; TLS has one place where bytes are encrypted.
    pub fn eager(&self) -> Option<Arc<dyn Eager>> {
        match &self.writer {
            Writer::Plain(socket) => Some(socket.clone()),
            Writer::Tls(_) => None,
        }
    }

    /// Carries bytes until the connection ends, and gives the reason; it never ends by itself.
    pub async fn carry(&mut self, link: &Link) -> Error {
        let Self {
            reader,
            writer,
            buffer,
        } = self;
        let reading = async {
            loop {
                // First what came in with the greeting.
                link.with(|pipeline| pipeline.received(buffer, Instant::now()))?;
                if reader.read(buffer).await.map_err(|error| lost(&error))? == 0 {
                    return Err(Error::ours("CONNECTION", "the server closed it"));
                }
            }
        };
        let writing = async {
            loop {
                let pieces = link.with(Pipeline::unsent);
                if pieces.is_empty() {
                    link.unsent.notified().await;
                    continue;
                }
                let written = writer.write(&pieces).await.map_err(|error| {
                    // Some of it may have gone out before TLS failed.
                    let doubtful = if writer.is_tls() { pieces[0].len() } else { 0 };
                    link.with(|pipeline| pipeline.taken(doubtful, Instant::now()));
                    lost(&error)
                })?;
                // Before what may wait: bytes that are not counted would be sent again after a loss.
                link.with(|pipeline| pipeline.taken(written, Instant::now()));
                writer.flush().await.map_err(|error| lost(&error))?;
            }
        };
        let ended: Result<std::convert::Infallible, Error> = tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        };
        match ended {
            Err(error) => error,
        }
    }

    /// Says farewell and waits until the server has closed too: then it has forgotten the connection and its subscriptions.
    pub async fn close(mut self) {
        let farewell = async {
            self.writer.shutdown().await?;
            while self.reader.read(&mut self.buffer).await? > 0 {
                self.buffer.clear();
            }
            io::Result::Ok(())
        };
        // A server that does not answer is left all the same.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

fn lost(error: &io::Error) -> Error {
    Error::ours("CONNECTION", error.to_string())
}

impl Reader {
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let socket = match self {
            Reader::Tls(stream) => return stream.read_buf(buffer).await,
            Reader::Plain(socket) => socket,
        };
        loop {
            let read = match &**socket {
                Socket::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_read_buf(buffer)
                }
                #[cfg(unix)]
                Socket::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_read_buf(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

impl Writer {
    /// Writes some of the pieces, of which there is one at least. TLS takes one after the other: it makes records of its own size.
    pub async fn write(&mut self, pieces: &[Bytes]) -> io::Result<usize> {
        let socket = match self {
            Writer::Tls(stream) => return stream.write(&pieces[0]).await,
            Writer::Plain(socket) => socket,
        };
        loop {
            match &**socket {
                Socket::Tcp(stream) => stream.writable().await?,
                #[cfg(unix)]
                Socket::Unix(stream) => stream.writable().await?,
            }
            match socket.write(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }

    fn is_tls(&self) -> bool {
        matches!(self, Writer::Tls(_))
    }

    /// TLS may hold back what it has taken.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Writer::Tls(stream) => stream.flush().await,
            Writer::Plain(_) => Ok(()),
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Writer::Tls(stream) => stream.shutdown().await,
            Writer::Plain(socket) => match &**socket {
                Socket::Tcp(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
                #[cfg(unix)]
                Socket::Unix(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            },
        }
    }
}

impl Socket {
    fn write(&self, pieces: &[Bytes]) -> io::Result<usize> {
        let slices: SmallVec<[IoSlice; 16]> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        match self {
            Socket::Tcp(stream) => stream.try_write_vectored(&slices),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.try_write_vectored(&slices),
        }
    }
}

impl Eager for Socket {
    fn try_write(&self, pieces: &[Bytes]) -> usize {
        // What goes wrong, the transport meets as well.
        self.write(pieces).unwrap_or(0)
    }
}
