//! Opens a connection to an endpoint: asks for credentials, opens a socket, and has the server answer the handshake.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::error::Reason;
use crate::redis::config::{Config, ServerKind, Target};
use crate::redis::connection::addresses;
use crate::redis::connection::failure::Failure;
use crate::redis::connection::handshake::{Form, Handshake};
use crate::redis::connection::stream::Registered;
use crate::redis::connection::transport::Transport;
use crate::redis::credentials::Credentials;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::Established;

/// The kernel notices a peer that vanished without closing the connection, even while no reply is awaited.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub type Opened = (Transport, Established);

pub struct Connector {
    config: Arc<Config>,
    /// The address that nodes of a cluster tell of the server, by which a function knows its name.
    told: Option<Endpoint>,
    /// The form of the handshake that the server took last: others are not tried in vain again.
    form: Mutex<Option<Form>>,
}

impl Connector {
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            told: None,
            form: Mutex::default(),
        }
    }

    pub fn of(config: Arc<Config>, target: &Target) -> Self {
        let told = match target {
            Target::Node(told) => Some(told.clone()),
            Target::Server(_) | Target::Master(_) => None,
        };
        Self {
            told,
            ..Self::new(config)
        }
    }

    pub async fn open(&self, endpoint: &Endpoint) -> Result<Opened, Failure> {
        self.open_within(endpoint, self.config.settings.connect_timeout)
            .await
    }

    /// Within a time of its own, in which functions of the application do not count.
    pub async fn open_within(&self, endpoint: &Endpoint, longest: Duration) -> Result<Opened, Failure> {
        let identity = self.identify(endpoint).await?;
        self.open_as(&identity, endpoint, longest).await
    }

    /// Asks functions of the application, for any number of attempts.
    pub async fn identify(&self, endpoint: &Endpoint) -> Result<Identity, Failure> {
        let credentials = self.config.credentials().await.map_err(Failure::passing)?;
        let named = self.told.as_ref().unwrap_or(endpoint);
        let server_name = self.config.provided_server_name(named).await;
        Ok(Identity {
            credentials,
            server_name: server_name.map_err(Failure::passing)?,
        })
    }

    pub async fn open_as(
        &self,
        identity: &Identity,
        endpoint: &Endpoint,
        longest: Duration,
    ) -> Result<Opened, Failure> {
        let Identity {
            credentials,
            server_name,
        } = identity.clone();
        let attempt = Attempt {
            handshake: Handshake::new(&self.config, endpoint, credentials),
            connector: self,
            endpoint,
            longest,
            server_name,
            in_tls: AtomicBool::new(false),
        };
        tokio::time::timeout(longest, attempt.open())
            .await
            .unwrap_or_else(|_| Err(attempt.timed_out()))
    }
}

/// Who connects, and to whom.
#[derive(Clone)]
pub struct Identity {
    credentials: Credentials,
    /// That a function gives for the certificate.
    server_name: Option<ServerName<'static>>,
}

struct Attempt<'a> {
    connector: &'a Connector,
    endpoint: &'a Endpoint,
    /// How long it may take.
    longest: Duration,
    handshake: Handshake<'a>,
    /// That a function gives for the certificate.
    server_name: Option<ServerName<'static>>,
    /// The handshake of TLS is under way.
    in_tls: AtomicBool,
}

impl Attempt<'_> {
    async fn open(&self) -> Result<Opened, Failure> {
        let protocol = self.connector.config.settings.protocol;
        let known = *self.connector.form.lock();
        let form = match protocol {
            Some(2) if known.is_none() => Form::Old,
            _ => known.unwrap_or(Form::Hello),
        };
        let opened = self.establish(form).await;
        match &opened {
            Ok(_) => *self.connector.form.lock() = Some(form),
            Err(failure) if !failure.closed || protocol == Some(3) => {}
            Err(_) if known == Some(Form::Bare) => *self.connector.form.lock() = None,
            Err(_) if known.is_none() && self.may_be_proxy() => return self.open_bare(opened).await,
            Err(_) => {}
        }
        opened
    }

    /// Sentinels and the masters that they name are asked what they are, which no proxy answers. One that closes the connection is tried again.
    fn may_be_proxy(&self) -> bool {
        let config = &self.connector.config;
        config.kind != ServerKind::Sentinel && !matches!(config.target, Target::Master(_))
    }

    /// A server that closes the connection during the handshake may be a proxy that knows few commands.
    async fn open_bare(&self, first: Result<Opened, Failure>) -> Result<Opened, Failure> {
        match self.establish(Form::Bare).await {
            Ok(opened) => {
                *self.connector.form.lock() = Some(Form::Bare);
                Ok(opened)
            }
            Err(failure) if !failure.closed => Err(failure),
            Err(_) => first,
        }
    }

    async fn establish(&self, form: Form) -> Result<Opened, Failure> {
        let mut transport = self.connect().await?;
        let (server, round_trip) = self.handshake.perform(form, &mut transport).await?;
        let established = Established {
            inline_write: transport.inline_write(),
            endpoint: self.endpoint.clone(),
            server,
            round_trip,
        };
        Ok((transport, established))
    }

    fn timed_out(&self) -> Failure {
        let (endpoint, timeout) = (self.endpoint, self.longest.as_millis());
        let in_tls = self.in_tls.load(Ordering::Relaxed);
        let reason = if in_tls { Reason::Tls } else { Reason::NoAnswer };
        let message = match self.handshake.first_error() {
            Some(error) => format!(
                "{endpoint} did not answer within {timeout} ms, but for \"{}\"",
                error.message
            ),
            None if in_tls => format!(
                "{endpoint} did not answer as a server with TLS does within {timeout} ms: if its port has none, the url begins with redis://"
            ),
            None => format!("{endpoint} did not answer within {timeout} ms"),
        };
        Failure::temporary(reason, message)
    }

    async fn connect(&self) -> Result<Transport, Failure> {
        let (config, endpoint) = (&self.connector.config, self.endpoint);
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = connect_tcp(host, *port, self.longest).await?;
                let Some(tls) = &config.tls else {
                    return plain(Registered::Tcp(stream));
                };
                self.in_tls.store(true, Ordering::Relaxed);
                let stream = tls.wrap(stream, host, self.server_name.as_ref()).await;
                let stream = stream.map_err(|error| Failure {
                    // The server has seen nothing of the handshake yet.
                    closed: false,
                    ..Failure::broken(endpoint, &error, true)
                })?;
                self.in_tls.store(false, Ordering::Relaxed);
                Ok(Transport::tls(stream))
            }
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                let stream = stream.map_err(|error| {
                    Failure::temporary(not_reached([&error]), format!("{endpoint}: {error}"))
                })?;
                plain(Registered::Unix(stream))
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(Failure::refused(crate::redis::error::no_unix_sockets())),
        }
    }
}

fn plain(stream: Registered) -> Result<Transport, Failure> {
    Transport::plain(stream).map_err(|error| Failure::temporary(Reason::Internal, error.to_string()))
}

async fn connect_tcp(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Failure> {
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| {
        Failure::temporary(
            Reason::UnknownHost,
            format!("no address of {host} was found: {error}"),
        )
    })?;
    let failures = match addresses::connect(found, timeout).await {
        Ok(stream) => return tuned(stream),
        Err(failures) => failures,
    };
    let reason = not_reached(failures.iter().map(|(_, error)| error));
    let failures: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    Err(Failure::temporary(reason, failures.join("; ")))
}

/// The reason for the errors of all addresses: nothing listens at any of them, or one at least cannot be reached. Addresses of a family that
/// this machine does not have say nothing of the server.
fn not_reached<'a>(failures: impl IntoIterator<Item = &'a io::Error>) -> Reason {
    let mut reason = Reason::Unreachable;
    for failure in failures {
        match failure.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => reason = Reason::Refused,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::NetworkUnreachable => {}
            _ => return Reason::Unreachable,
        }
    }
    reason
}

fn tuned(stream: TcpStream) -> Result<TcpStream, Failure> {
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keep_alive));
    tuned
        .map(|()| stream)
        .map_err(|error| Failure::temporary(Reason::Unreachable, error.to_string()))
}
