//! Carries the bytes of one connection.
//!
//! Requests, deadlines and connecting again do not depend on how bytes travel. To add a transport, open it in `Attempt::connect` of `connect.rs`,
//! and add a variant. A socket of the operating system has one in `Stream` and `Registered` of `stream.rs`, another transport in `Carrier`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use socket2::{SockRef, Socket};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::redis::connection::pace::{self, Pace};
use crate::redis::connection::shared::Shared;
use crate::redis::connection::socket::{SharedSocket, SocketSlot};
use crate::redis::connection::stream::{Registered, drain, is_drained};
use crate::redis::connection::time_slice::{LONGEST_READ, TimeSlice};
use crate::redis::error::{closed, lost};
use crate::redis::pipeline::in_flight::InlineWrite;
use crate::redis::pipeline::{Machine, Pipeline};

/// How long a graceful shutdown waits for the server to close too.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

pub struct Transport {
    carrier: Carrier,
    /// What was read of replies that are not complete.
    pub buffer: BytesMut,
}

enum Carrier {
    /// Registered with tokio while the handshake waits for it.
    Plain(Arc<SharedSocket>, Option<Arc<Registered>>),
    /// The I/O thread's alone, as one thread encrypts.
    Tls {
        reader: ReadHalf<TlsStream<TcpStream>>,
        writer: WriteHalf<TlsStream<TcpStream>>,
        /// The socket below, to peek into. None if the process can open no more files.
        socket: Option<Socket>,
    },
}

impl Transport {
    pub fn plain(registered: Registered) -> io::Result<Self> {
        let socket = SharedSocket::new(registered)?;
        Ok(Self::new(Carrier::Plain(Arc::new(socket), None)))
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Self {
        let socket = SockRef::from(stream.get_ref().0).try_clone().ok();
        let (reader, writer) = tokio::io::split(stream);
        Self::new(Carrier::Tls {
            reader,
            writer,
            socket,
        })
    }

    fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            buffer: BytesMut::with_capacity(64 << 10),
        }
    }

    /// How other threads may write.
    pub fn inline_write(&self) -> Option<Arc<dyn InlineWrite>> {
        match &self.carrier {
            Carrier::Plain(socket, _) => Some(socket.clone()),
            Carrier::Tls { .. } => None,
        }
    }

    /// Reads into the buffer. 0 at the end of the stream.
    pub async fn read(&mut self) -> io::Result<usize> {
        match &mut self.carrier {
            Carrier::Plain(socket, registered) => {
                let registered = match registered {
                    Some(registered) => registered,
                    none => none.insert(socket.registered()?),
                };
                registered.read(&mut self.buffer).await
            }
            Carrier::Tls { reader, .. } => reader.read_buf(&mut self.buffer).await,
        }
    }

    /// Writes a part of the bytes.
    pub async fn write(&mut self, bytes: &Bytes) -> io::Result<usize> {
        match &mut self.carrier {
            Carrier::Plain(socket, _) => socket.write_some(&|| vec![bytes.clone()]).await,
            Carrier::Tls { writer, .. } => {
                let written = writer.write(bytes).await?;
                // TLS may hold back what it has taken.
                writer.flush().await.map(|()| written)
            }
        }
    }

    /// Carries bytes until the connection ends, and gives the reason. It never ends by itself.
    pub async fn carry<M: Machine>(&mut self, shared: &Shared<M>, slot: &SocketSlot) -> Error {
        let buffer = &mut self.buffer;
        let ended = match &mut self.carrier {
            Carrier::Plain(socket, registered) => {
                registered.take();
                let buffer = std::mem::take(buffer);
                let _filled = slot.fill(socket);
                shared.sink.poll_socket();
                tokio::select! {
                    ended = socket.read(shared, buffer) => ended,
                    ended = socket.write(shared) => ended,
                }
            }
            Carrier::Tls {
                reader,
                writer,
                socket,
            } => tokio::select! {
                ended = read_tls(shared, reader, buffer) => ended,
                ended = write_tls(shared, writer, socket.as_ref()) => ended,
            },
        };
        match ended {
            Err(error) => error,
        }
    }

    /// Shuts down gracefully: waits until the server has closed too, and so has forgotten the connection and its subscriptions.
    pub async fn close(mut self) {
        let shutdown = async {
            match &mut self.carrier {
                Carrier::Plain(socket, _) => socket.shut_down()?,
                Carrier::Tls { writer, .. } => writer.shutdown().await?,
            }
            while self.read().await? > 0 {
                self.buffer.clear();
            }
            io::Result::Ok(())
        };
        // A server that does not close in time is left all the same.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, shutdown).await;
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Carrier::Plain(socket, _) = &self.carrier {
            socket.close();
        }
    }
}

async fn read_tls<M: Machine>(
    shared: &Shared<M>,
    reader: &mut ReadHalf<TlsStream<TcpStream>>,
    buffer: &mut BytesMut,
) -> Result<Infallible, Error> {
    let (mut slice, mut pace) = (TimeSlice::default(), Pace::default());
    // First what came in with the handshake.
    let mut read = buffer.len();
    loop {
        let now = Instant::now();
        let is_all = buffer.len() < buffer.capacity();
        let unwanted = shared.received(buffer, now)?;
        slice.spend(read, now).await;
        if pace.pauses(unwanted, is_all, now) {
            pace::pause().await;
        }
        let mut room = buffer.limit(LONGEST_READ);
        read = reader.read_buf(&mut room).await.map_err(|error| lost(&error))?;
        if read == 0 {
            return Err(closed());
        }
    }
}

/// Writes one piece after the other: TLS makes records of its own size.
async fn write_tls<M: Machine>(
    shared: &Shared<M>,
    writer: &mut WriteHalf<TlsStream<TcpStream>>,
    socket: Option<&Socket>,
) -> Result<Infallible, Error> {
    let mut slice = TimeSlice::default();
    loop {
        if shared.with(Pipeline::must_drain_first) {
            let is_drained = || socket.is_none_or(is_drained);
            drain(is_drained, || {}).await;
        }
        // Asked for whenever it can take some: a connection that retires gives fewer pieces.
        let written = poll_fn(|context| {
            let pieces = shared.with(Pipeline::unsent);
            let Some(piece) = pieces.first() else {
                return Poll::Ready(Ok(0));
            };
            let written = ready!(Pin::new(&mut *writer).poll_write(context, piece));
            // Counted before the flush, which may wait: bytes that are not counted would be sent again after a loss. Some may have gone out before
            // it failed.
            let count = *written.as_ref().unwrap_or(&piece.len());
            shared.with(|pipeline| pipeline.note_written(count));
            Poll::Ready(written)
        });
        let written = written.await.map_err(|error| lost(&error))?;
        if written == 0 {
            shared.unsent.notified().await;
            continue;
        }
        let now = Instant::now();
        writer.flush().await.map_err(|error| lost(&error))?;
        slice.spend(written, now).await;
    }
}
