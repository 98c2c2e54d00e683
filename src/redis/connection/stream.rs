//! The operating system's socket, TCP or Unix, without TLS.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use socket2::{SockRef, Socket};
use tokio::io::Interest;
use tokio::task::yield_now;

use crate::redis::connection::time_slice::LONGEST_READ;

/// How long unread bytes may delay a write.
const LONGEST_DELAY: Duration = Duration::from_millis(100);

pub enum Stream {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

/// A stream that tokio waits for. While one exists, the I/O thread wakes up for all that comes in.
pub enum Registered {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Stream {
    pub fn register(&self) -> io::Result<Registered> {
        match self {
            Self::Tcp(stream) => tokio::net::TcpStream::from_std(stream.try_clone()?).map(Registered::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => tokio::net::UnixStream::from_std(stream.try_clone()?).map(Registered::Unix),
        }
    }

    #[cfg(unix)]
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
            Self::Unix(stream) => stream.as_fd().try_clone_to_owned(),
        }
    }

    pub fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => { stream }.read(room),
            #[cfg(unix)]
            Self::Unix(stream) => { stream }.read(room),
        }
    }

    pub fn write(&self, pieces: &[Bytes]) -> io::Result<usize> {
        if pieces.is_empty() {
            return Ok(0);
        }
        let slices: SmallVec<[IoSlice; 16]> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        match self {
            Self::Tcp(stream) => { stream }.write_vectored(&slices),
            #[cfg(unix)]
            Self::Unix(stream) => { stream }.write_vectored(&slices),
        }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    pub fn is_drained(&self) -> bool {
        match self {
            Self::Tcp(stream) => is_drained(&SockRef::from(stream)),
            #[cfg(unix)]
            Self::Unix(stream) => is_drained(&SockRef::from(stream)),
        }
    }
}

impl Registered {
    pub fn into_stream(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Stream::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => stream.into_std().map(Stream::Unix),
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

    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut room = buffer.limit(LONGEST_READ);
        match self {
            Self::Tcp(stream) => stream.try_read_buf(&mut room),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_read_buf(&mut room),
        }
    }

    pub async fn write(&self, mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
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

/// Whether a socket holds nothing unread: neither bytes nor the end of the stream.
pub fn is_drained(socket: &Socket) -> bool {
    let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Waits until what lies in the socket is read: if that is the end of the stream, the server has run nothing that is written afterwards.
pub async fn drain(is_drained: impl Fn() -> bool, read: impl Fn()) {
    let read_all = async {
        while !is_drained() {
            read();
            yield_now().await;
        }
    };
    // A server that goes on sending is alive.
    let _ = tokio::time::timeout(LONGEST_DELAY, read_all).await;
}
