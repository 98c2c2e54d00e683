//! From an address to a connection that the server has greeted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use redis::{Cmd, cmd};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use super::addresses;
use super::config::{Address, Config};
use super::connection::{Greeted, Server, ServerRole};
use super::credentials::{self, Credentials};
use super::handshake;
use super::plain::Registered;
use super::resp::{self, Scanner};
use super::transport::Transport;
use crate::error::Error;
use crate::reply::Reply;

/// A peer that vanished without a word is noticed by the kernel even while nothing is asked of it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// No server has more to say when it is greeted.
const LONGEST: usize = 64 << 10;

/// Why there is no connection.
pub struct Failure {
    pub error: Error,
    /// Whether trying again is of no use by itself: a password is wrong, the server is none of Redis's.
    pub refused: bool,
    /// The server has closed the connection, maybe for how it was greeted.
    closed: bool,
}

/// A connection that the server has greeted.
pub type Opened = (Transport, Greeted);

/// How a server is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
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
struct Dialing<'a> {
    config: &'a Config,
    credentials: Credentials,
    /// The handshake of TLS is under way.
    in_tls: AtomicBool,
    /// The error that the server began with: the reason of what follows.
    said: Mutex<Option<Error>>,
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
        let message = match &*self.said.lock() {
            Some(error) => format!(
                "{place} did not answer within {timeout} ms, but for \"{}\"",
                error.message
            ),
            None if self.in_tls.load(Ordering::Relaxed) => format!(
                "{place} did not answer as a server with TLS does within {timeout} ms: if its port has none, the url begins with redis://"
            ),
            None => format!("{place} did not answer within {timeout} ms"),
        };
        temporary(message)
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
                let stream = stream.map_err(|error| temporary(format!("{}: {error}", path.display())))?;
                plain(Registered::Unix(stream))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(refused(Error::ours(
                "UNSUPPORTED",
                "this system has no unix sockets",
            ))),
        }
    }

    /// What a connection ends with before the server has greeted it.
    fn broken(&self, error: &io::Error) -> Failure {
        let place = self.config.place();
        if let Some(words) = handshake::words(error) {
            return refused(Error::ours("CONNECTION", format!("TLS with {place}: {words}")));
        }
        Failure {
            closed: is_closed(error),
            ..temporary(format!("{place}: {error}"))
        }
    }
}

fn plain(stream: Registered) -> Result<Transport, Failure> {
    Transport::plain(stream).map_err(|error| temporary(error.to_string()))
}

async fn connect_tcp(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Failure> {
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| temporary(format!("no address of {host} was found: {error}")))?;
    let mut failures = match addresses::connect(found, timeout).await {
        Ok(stream) => return tuned(stream),
        Err(failures) => failures,
    };
    failures.sort_by_key(|(address, _)| *address);
    let failures: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    Err(temporary(failures.join("; ")))
}

fn tuned(stream: TcpStream) -> Result<TcpStream, Failure> {
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keep_alive));
    tuned
        .map(|()| stream)
        .map_err(|error| temporary(error.to_string()))
}

impl Dialing<'_> {
    /// Speaks RESP 3 with the server, RESP 2 with one that knows no other. What it is, and how long it took to answer.
    async fn greet(&self, form: Form, transport: &mut Transport) -> Result<(Server, Duration), Failure> {
        let asked = Instant::now();
        if form == Form::Hello {
            let questions = self.greeting();
            let replies = self.ask(transport, &questions).await?;
            let round_trip = asked.elapsed();
            let hello = parse(&replies[0])?;
            let knows_no_hello = matches!(&hello, Reply::Error(error) if self.is_of_hello(error));
            if !knows_no_hello || self.config.protocol == Some(3) {
                let server = described(&hello);
                self.check_kind(&server, transport).await?;
                self.check_all(&questions, &replies)?;
                return Ok((server, round_trip));
            }
        }
        let asked = Instant::now();
        let questions = match form {
            Form::Bare => self.bare_greeting(),
            Form::Hello | Form::Old => self.old_greeting(),
        };
        let replies = self.ask(transport, &questions).await?;
        let round_trip = asked.elapsed();
        let server = described_by_old(&questions, &replies)?;
        self.check_kind(&server, transport).await?;
        self.check_all(&questions, &replies)?;
        Ok((server, round_trip))
    }

    /// A store wants a server that has all keys.
    async fn check_kind(&self, server: &Server, transport: &mut Transport) -> Result<(), Failure> {
        let place = self.config.place();
        match server.mode.as_deref() {
            Some("sentinel") => Err(refused(Error::ours(
                "CONFIG",
                format!(
                    "{place} is a Sentinel, which has no keys: give the address of the master that it watches (SENTINEL MASTERS tells it)"
                ),
            ))),
            Some("cluster") => {
                let questions = [("CLUSTER", cmd("CLUSTER").arg("INFO").take())];
                let replies = self.ask(transport, &questions).await?;
                let has_all = ["cluster_size:1", "cluster_slots_assigned:16384"];
                let is_whole = matches!(parse(&replies[0])?, Reply::Bulk(info) if has_all.iter().all(|line| has_line(&info, line)));
                let is_master = server.role == ServerRole::Master;
                let (what, instead) = match is_whole {
                    true if is_master => return Ok(()),
                    true => (
                        "a replica in a Redis Cluster of one shard",
                        "the address of its master",
                    ),
                    false => (
                        "a node of a Redis Cluster, which has a part of the keys",
                        "the address of a server without cluster-enabled, or of a proxy before the cluster (a client of clusters is not part of covara-kv yet)",
                    ),
                };
                Err(Failure {
                    // A replica may become the master, and its name lead to another server.
                    refused: !is_whole,
                    ..refused(Error::ours(
                        "CONFIG",
                        format!("{place} is {what}: give {instead}"),
                    ))
                })
            }
            _ => Ok(()),
        }
    }

    fn greeting(&self) -> Vec<Question> {
        let mut hello = cmd("HELLO");
        hello.arg(3);
        if let Some(password) = &self.credentials.password {
            let username = self.credentials.username.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(username).arg(password);
        }
        if let Some(name) = &self.config.client_name {
            hello.arg("SETNAME").arg(name);
        }
        let mut questions = vec![("HELLO", hello)];
        for (attribute, value) in [
            ("LIB-NAME", env!("CARGO_PKG_NAME")),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ] {
            questions.push((
                "CLIENT",
                cmd("CLIENT").arg("SETINFO").arg(attribute).arg(value).take(),
            ));
        }
        questions.extend(self.last_questions());
        questions
    }

    fn old_greeting(&self) -> Vec<Question> {
        let mut questions = Vec::from_iter(self.auth());
        if let Some(name) = &self.config.client_name {
            questions.push(("CLIENT", cmd("CLIENT").arg("SETNAME").arg(name).take()));
        }
        questions.push(("ROLE", cmd("ROLE")));
        questions.push(("INFO", cmd("INFO").arg("cluster").take()));
        questions.extend(self.last_questions());
        questions
    }

    fn bare_greeting(&self) -> Vec<Question> {
        self.auth().into_iter().chain(self.last_questions()).collect()
    }

    fn auth(&self) -> Option<Question> {
        let Credentials { username, password } = &self.credentials;
        let auth = |password| ("AUTH", cmd("AUTH").arg(username).arg(password).take());
        password.as_ref().map(auth)
    }

    fn last_questions(&self) -> impl Iterator<Item = Question> + use<> {
        let db = self.config.db;
        let select = (db != 0).then(|| ("SELECT", cmd("SELECT").arg(db).take()));
        // A server that is still loading answers to all the rest.
        select.into_iter().chain([("PING", cmd("PING"))])
    }

    /// Asks all at once. The reply to each.
    async fn ask(&self, transport: &mut Transport, questions: &[Question]) -> Result<Vec<Bytes>, Failure> {
        let mut left: Bytes = questions
            .iter()
            .flat_map(|(_, command)| command.get_packed_command())
            .collect();
        while !left.is_empty() {
            // What the server said before it closed is read below, and so is what went wrong.
            let Ok(written) = transport.write(&left).await else {
                break;
            };
            left.advance(written);
        }
        let mut scanner = Scanner::default();
        let mut replies = Vec::with_capacity(questions.len());
        while replies.len() < questions.len() {
            let end = scanner.end(&transport.buffer);
            let is_endless = end == Ok(None) && transport.buffer.len() > LONGEST;
            let end = end
                .ok()
                .filter(|_| !is_endless)
                .ok_or_else(|| refused(no_redis(self.config, &transport.buffer)))?;
            if let Some(end) = end {
                let reply = transport.buffer.split_to(end).freeze();
                if replies.is_empty()
                    && let Reply::Error(error) = parse(&reply)?
                {
                    *self.said.lock() = Some(without_secrets(&self.credentials, &error));
                }
                replies.push(reply);
            } else {
                transport.buffer.reserve(4 << 10);
                match transport.read().await {
                    Ok(0) => return Err(self.closed()),
                    Ok(_) => {}
                    Err(error) if is_closed(&error) => return Err(self.closed()),
                    Err(error) => return Err(self.broken(&error)),
                }
            }
        }
        Ok(replies)
    }

    /// The server has closed the connection in place of an answer, or after an error that says why.
    fn closed(&self) -> Failure {
        let place = self.config.place();
        let Some(error) = self.said.lock().clone() else {
            let hint = match (&self.config.tls, &self.config.address) {
                (None, Address::Tcp { .. }) => ": if its port has TLS, the url begins with rediss://",
                _ => "",
            };
            return Failure {
                closed: true,
                ..temporary(format!("{place} closed the connection at once{hint}"))
            };
        };
        Failure {
            refused: self.refusal("HELLO", &error).unwrap_or_default(),
            closed: self.is_of_hello(&error),
            error,
        }
    }

    /// Whether an error is about HELLO, or how it was said, so that RESP 2 may do: not about who we are, or how the server does.
    fn is_of_hello(&self, error: &Error) -> bool {
        match &*error.code {
            // Proxies want AUTH before HELLO.
            "NOAUTH" => self.credentials.password.is_some(),
            "WRONGPASS" | "DENIED" | "LOADING" | "MASTERDOWN" | "BUSY" => false,
            _ => !error.message.starts_with("ERR max number of clients"),
        }
    }

    fn check_all(&self, questions: &[Question], replies: &[Bytes]) -> Result<(), Failure> {
        let mut answered = questions.iter().zip(replies);
        answered.try_for_each(|((command, _), reply)| self.check(command, &parse(reply)?))
    }

    /// Whether the connection can be used after this reply.
    fn check(&self, command: &str, reply: &Reply) -> Result<(), Failure> {
        let error = match reply {
            Reply::Error(error) => error,
            Reply::Status(status) if command == "PING" && status == "PONG" => return Ok(()),
            _ if command != "PING" => return Ok(()),
            _ => {
                return Err(refused(Error::ours(
                    "CONNECTION",
                    format!(
                        "{} is no Redis server: it does not answer PING",
                        self.config.place()
                    ),
                )));
            }
        };
        match self.refusal(command, error) {
            None => Ok(()),
            Some(refused) => Err(Failure {
                error: without_secrets(&self.credentials, error),
                refused,
                closed: false,
            }),
        }
    }

    /// Nothing if the connection can be used all the same; whether the server will not answer otherwise by itself.
    fn refusal(&self, command: &str, error: &Error) -> Option<bool> {
        match (command, &*error.code) {
            // Credentials that are asked for may be others the next time.
            (_, "NOAUTH" | "WRONGPASS") => Some(self.config.asked.is_none()),
            (_, "DENIED") | ("HELLO" | "AUTH" | "SELECT", "NOPERM") | ("AUTH" | "SELECT", "ERR") => {
                Some(true)
            }
            ("HELLO", _) => Some(self.is_of_hello(error)),
            ("AUTH" | "SELECT", _) | (_, "LOADING" | "MASTERDOWN" | "BUSY") => Some(false),
            // Names are for CLIENT LIST only, and not every user may PING.
            _ => None,
        }
    }
}

/// A command's name, and the command.
type Question = (&'static str, Cmd);

/// With how it answers: the greeting asks for nothing that is secret.
fn no_redis(config: &Config, answer: &[u8]) -> Error {
    let place = config.place();
    // An alert of TLS.
    if answer.starts_with(&[0x15, 0x03]) && config.tls.is_none() {
        let message = format!("{place} has TLS: the url begins with rediss://, or give tls");
        return Error::ours("CONNECTION", message);
    }
    let start = String::from_utf8_lossy(&answer[..answer.len().min(40)]);
    let start = start.escape_debug();
    Error::ours(
        "CONNECTION",
        format!("{place} is no Redis server: it sent \"{start}\""),
    )
}

fn parse(reply: &Bytes) -> Result<Reply<'_>, Failure> {
    resp::parse(reply).map_err(refused)
}

/// Servers, and proxies before them, may show the arguments of a command that they do not know.
fn without_secrets(credentials: &Credentials, error: &Error) -> Error {
    let text = error.message.split(", with args").next().unwrap_or_default();
    match &credentials.password {
        Some(password) if text.contains(password.as_str()) => Error::reply(text.replace(password, "***")),
        _ => Error::reply(text.to_owned()),
    }
}

/// HELLO's reply has fields and values in turn.
fn described(hello: &Reply) -> Server {
    let items = match hello {
        Reply::Array(items) => &items[..],
        _ => &[],
    };
    let field = |name: &[u8]| {
        let pair = items.chunks(2).find(|pair| pair[0] == Reply::bulk(name));
        match pair.and_then(|pair| pair.get(1)) {
            Some(Reply::Bulk(value)) => Some(String::from_utf8_lossy(value).into_owned()),
            _ => None,
        }
    };
    Server {
        resp: 3,
        version: field(b"version"),
        mode: field(b"mode"),
        role: match field(b"role").as_deref() {
            Some("master") => ServerRole::Master,
            Some("replica") => ServerRole::Replica,
            _ => ServerRole::Unknown,
        },
    }
}

/// What a server says of itself without HELLO.
fn described_by_old(questions: &[Question], replies: &[Bytes]) -> Result<Server, Failure> {
    let mut server = Server {
        resp: 2,
        ..Server::default()
    };
    for ((name, _), reply) in questions.iter().zip(replies) {
        match (*name, parse(reply)?) {
            ("ROLE", reply) => {
                server.role = role_of(&reply);
                if begins_with(&reply, b"sentinel") {
                    server.mode = Some("sentinel".to_owned());
                }
            }
            ("INFO", Reply::Bulk(info)) if has_line(&info, "cluster_enabled:1") => {
                server.mode = Some("cluster".to_owned());
            }
            _ => {}
        }
    }
    Ok(server)
}

/// Whether INFO, or its like, has such a line.
fn has_line(info: &[u8], line: &str) -> bool {
    let mut lines = info.split(|byte| *byte == b'\n');
    lines.any(|other| other.trim_ascii_end() == line.as_bytes())
}

fn begins_with(reply: &Reply, name: &[u8]) -> bool {
    matches!(reply, Reply::Array(items) if items.first() == Some(&Reply::bulk(name)))
}

/// ROLE's reply begins with its name.
fn role_of(reply: &Reply) -> ServerRole {
    match reply {
        reply if begins_with(reply, b"master") => ServerRole::Master,
        reply if begins_with(reply, b"slave") => ServerRole::Replica,
        _ => ServerRole::Unknown,
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

fn temporary(message: String) -> Failure {
    Failure {
        error: Error::ours("CONNECTION", message),
        refused: false,
        closed: false,
    }
}

fn refused(error: Error) -> Failure {
    Failure {
        error,
        refused: true,
        closed: false,
    }
}
