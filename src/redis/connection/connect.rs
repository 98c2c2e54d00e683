//! From an address to a connection: whom to ask for credentials, which socket to open, and in which form to greet.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use crate::error::{Error, Reason};
use crate::redis::config::{Address, Config};
use crate::redis::connection::addresses;
use crate::redis::connection::socket::Registered;
use crate::redis::connection::transport::Transport;
use crate::redis::credentials::{self, Credentials};
use crate::redis::pipeline::in_flight::Greeted;
use crate::redis::tls::errors;

/// A peer that vanished without a word is noticed by the kernel even while nothing is asked of it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Why there is no connection.
pub struct Failure {
    pub error: Error,
    /// Whether trying again is of no use by itself: a password is wrong, the server is none of Redis's.
    pub refused: bool,
    /// The server has closed the connection, maybe for how it was greeted.
    pub(super) closed: bool,
}

/// A connection that the server has greeted.
pub type Opened = (Transport, Greeted);

/// How a server is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// HELLO, with all that is worth knowing. RESP 2 on the same connection where the answer is an error.
    Hello,
    /// RESP 2 without HELLO.
    Old,
    /// AUTH, SELECT and PING: proxies close the connection for what they do not know.
    Bare,
}

/// The form that a server took last, so that it is not greeted in vain again.
#[derive(Default)]
pub struct Manners(Mutex<Option<Form>>);

pub async fn open(config: &Config, manners: &Manners) -> Result<Opened, Failure> {
    let credentials = credentials::of(config).await.map_err(|error| Failure {
        error,
        refused: false,
        closed: false,
    })?;
    let dialing = Dialing {
        config,
        credentials,
        in_tls: AtomicBool::new(false),
        said: Mutex::default(),
    };
    tokio::time::timeout(config.connect_timeout, dialing.open(manners))
        .await
        .unwrap_or_else(|_| Err(dialing.late()))
}

/// One attempt.
pub(super) struct Dialing<'a> {
    pub(super) config: &'a Config,
    pub(super) credentials: Credentials,
    /// The handshake of TLS is under way.
    in_tls: AtomicBool,
    /// The error that the server began with: the reason of what follows.
    pub(super) said: Mutex<Option<Error>>,
}

impl Dialing<'_> {
    async fn open(&self, manners: &Manners) -> Result<Opened, Failure> {
        let known = *manners.0.lock();
        let form = match self.config.protocol {
            Some(2) if known.is_none() => Form::Old,
            _ => known.unwrap_or(Form::Hello),
        };
        let opened = self.greeted(form).await;
        match &opened {
            Ok(_) => *manners.0.lock() = Some(form),
            Err(failure) if !failure.closed || self.config.protocol == Some(3) => {}
            Err(_) if known == Some(Form::Bare) => *manners.0.lock() = None,
            Err(_) if known.is_none() => return self.open_bare(opened, manners).await,
            Err(_) => {}
        }
        opened
    }

    /// A server that closes when it is greeted may be a proxy that knows but little.
    async fn open_bare(&self, first: Result<Opened, Failure>, manners: &Manners) -> Result<Opened, Failure> {
        match self.greeted(Form::Bare).await {
            Ok(opened) => {
                *manners.0.lock() = Some(Form::Bare);
                Ok(opened)
            }
            Err(failure) if !failure.closed => Err(failure),
            Err(_) => first,
        }
    }

    async fn greeted(&self, form: Form) -> Result<Opened, Failure> {
        let mut transport = self.connect().await?;
        let (server, round_trip) = self.greet(form, &mut transport).await?;
        let greeted = Greeted {
            eager: transport.eager(),
            server,
            round_trip,
        };
        Ok((transport, greeted))
    }

    /// The time is up.
    fn late(&self) -> Failure {
        let (place, timeout) = (self.config.place(), self.config.connect_timeout.as_millis());
        let in_tls = self.in_tls.load(Ordering::Relaxed);
        let reason = if in_tls { Reason::Tls } else { Reason::NoAnswer };
        let message = match &*self.said.lock() {
            Some(error) => format!(
                "{place} did not answer within {timeout} ms, but for \"{}\"",
                error.message
            ),
            None if in_tls => format!(
                "{place} did not answer as a server with TLS does within {timeout} ms: if its port has none, the url begins with redis://"
            ),
            None => format!("{place} did not answer within {timeout} ms"),
        };
        temporary(reason, message)
    }

    async fn connect(&self) -> Result<Transport, Failure> {
        match &self.config.address {
            Address::Tcp { host, port } => {
                let stream = connect_tcp(host, *port, self.config.connect_timeout).await?;
                let Some(tls) = &self.config.tls else {
                    return plain(Registered::Tcp(stream));
                };
                self.in_tls.store(true, Ordering::Relaxed);
                let stream = tls.wrap(stream).await.map_err(|error| Failure {
                    // It has not been greeted yet.
                    closed: false,
                    ..self.broken(&error)
                })?;
                self.in_tls.store(false, Ordering::Relaxed);
                Ok(Transport::tls(stream))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                let stream = stream.map_err(|error| {
                    temporary(not_reached([&error]), format!("{}: {error}", path.display()))
                })?;
                plain(Registered::Unix(stream))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(refused(Error::because(
                Reason::UnixSocket,
                "this system has no unix sockets",
            ))),
        }
    }

    /// What a connection ends with before the server has greeted it.
    pub(super) fn broken(&self, error: &io::Error) -> Failure {
        let place = self.config.place();
        if let Some((reason, words)) = errors::words(error) {
            return refused(Error::because(reason, format!("TLS with {place}: {words}")));
        }
        let in_tls = self.in_tls.load(Ordering::Relaxed);
        let reason = if in_tls { Reason::Tls } else { Reason::ClosedAtOnce };
        Failure {
            closed: is_closed(error),
            ..temporary(reason, format!("{place}: {error}"))
        }
    }
}

fn plain(stream: Registered) -> Result<Transport, Failure> {
    Transport::plain(stream).map_err(|error| temporary(Reason::Internal, error.to_string()))
}

async fn connect_tcp(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Failure> {
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| {
        temporary(
            Reason::UnknownHost,
            format!("no address of {host} was found: {error}"),
        )
    })?;
    let mut failures = match addresses::connect(found, timeout).await {
        Ok(stream) => return tuned(stream),
        Err(failures) => failures,
    };
    failures.sort_by_key(|(address, _)| *address);
    let reason = not_reached(failures.iter().map(|(_, error)| error));
    let failures: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    Err(temporary(reason, failures.join("; ")))
}

/// Why a connection was not opened, from what each attempt met: nobody listens there, or it cannot be reached.
fn not_reached<'a>(failures: impl IntoIterator<Item = &'a io::Error>) -> Reason {
    let is_refusal = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        )
    };
    if failures.into_iter().all(is_refusal) {
        Reason::Refused
    } else {
        Reason::Unreachable
    }
}

fn tuned(stream: TcpStream) -> Result<TcpStream, Failure> {
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keep_alive));
    tuned
        .map(|()| stream)
        .map_err(|error| temporary(Reason::Unreachable, error.to_string()))
}

pub(super) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

pub(super) fn temporary(reason: Reason, message: String) -> Failure {
    Failure {
        error: Error::because(reason, message),
        refused: false,
        closed: false,
    }
}

pub(super) fn refused(error: Error) -> Failure {
    Failure {
        error,
        refused: true,
        closed: false,
    }
}
