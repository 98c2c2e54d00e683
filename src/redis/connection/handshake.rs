//! The handshake: tells the server who we are, and learns what it is.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use redis::{Cmd, cmd};

use crate::error::{Error, Reason};
use crate::redis::config::{Config, ServerKind, Target};
use crate::redis::connection::failure::{Failure, is_closed};
use crate::redis::connection::secrets::without_secrets;
use crate::redis::connection::server_info;
use crate::redis::connection::transport::Transport;
use crate::redis::credentials::Credentials;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::invalid;
use crate::redis::pipeline::in_flight::{Server, ServerRole};
use crate::redis::protocol::decode;
use crate::redis::protocol::reply_end::Scanner;
use crate::reply::Reply;

/// The most bytes of replies to a handshake.
const LONGEST: usize = 64 << 10;

/// Which commands a handshake consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// HELLO 3 and all that is of use. RESP 2 on the same connection if the server answers with an error.
    Hello,
    /// RESP 2 without HELLO.
    Old,
    /// AUTH, SELECT and PING: proxies close the connection for a command that they do not know.
    Bare,
}

/// One attempt's handshake.
pub struct Handshake<'a> {
    config: &'a Config,
    endpoint: &'a Endpoint,
    credentials: Credentials,
    /// The error that the server answered first: the reason of what follows.
    first_error: Mutex<Option<Error>>,
}

impl<'a> Handshake<'a> {
    pub fn new(config: &'a Config, endpoint: &'a Endpoint, credentials: Credentials) -> Self {
        Self {
            config,
            endpoint,
            credentials,
            first_error: Mutex::default(),
        }
    }

    pub fn first_error(&self) -> Option<Error> {
        self.first_error.lock().clone()
    }

    /// Agrees on RESP 3, or on RESP 2 with a server that knows no other. Gives what the server is, and the round trip.
    pub async fn perform(
        &self,
        form: Form,
        transport: &mut Transport,
    ) -> Result<(Server, Duration), Failure> {
        let asked = Instant::now();
        if form == Form::Hello {
            let commands = self.hello_commands();
            let replies = self.ask(transport, &commands).await?;
            let round_trip = asked.elapsed();
            let hello = parse(&replies[0])?;
            let knows_no_hello = matches!(&hello, Reply::Error(error) if self.is_of_hello(error));
            if !knows_no_hello || self.config.settings.protocol == Some(3) {
                let server = server_info::from_hello(&hello);
                self.check_kind(&server)?;
                self.check_all(&commands, &replies)?;
                self.take_redirects(&server, transport).await?;
                return Ok((server, round_trip));
            }
        }
        let asked = Instant::now();
        let commands = match form {
            Form::Bare => self.bare_commands(),
            Form::Hello | Form::Old => self.old_commands(),
        };
        let replies = self.ask(transport, &commands).await?;
        let round_trip = asked.elapsed();
        let answers = commands.iter().zip(&replies);
        let answers = answers.map(|((name, _), reply)| Ok((*name, parse(reply)?)));
        let server = server_info::from_commands(answers.collect::<Result<_, Failure>>()?);
        self.check_kind(&server)?;
        self.check_all(&commands, &replies)?;
        Ok((server, round_trip))
    }

    /// A store needs a server that has all keys.
    fn check_kind(&self, server: &Server) -> Result<(), Failure> {
        let kind = self.config.kind;
        match server.mode.as_deref() {
            Some("cluster") if matches!(self.config.target, Target::Master(_)) => {
                Err(Failure::refused(invalid(format!(
                    "{}, which the Sentinels name as the master, is a node of a Redis Cluster: give redis.cluster in place of redis.sentinel",
                    self.endpoint
                ))))
            }
            Some("cluster") if self.config.db != 0 => Err(Failure::refused(invalid(format!(
                "{} is a node of a Redis Cluster, which has no database but 0: leave db out",
                self.endpoint
            )))),
            Some("sentinel") if kind == ServerKind::Sentinel => Ok(()),
            // The reason follows.
            None if kind == ServerKind::Sentinel && server.role == ServerRole::Unknown => Ok(()),
            _ if kind == ServerKind::Sentinel => Err(Failure::refused(Error::because(
                Reason::NoSentinel,
                format!("{} is a server, and no Sentinel", self.endpoint),
            ))),
            Some("sentinel") => Err(Failure::refused(Error::because(
                Reason::Sentinel,
                format!(
                    "{} is a Sentinel, which has no keys: give it as redis.sentinel, with the name of the master that it watches (SENTINEL MASTERS tells it)",
                    self.endpoint
                ),
            ))),
            // The store is to become one of a cluster, and asks again.
            Some("cluster") if self.config.cluster.is_none() => Err(Failure::temporary(
                Reason::Cluster,
                format!("{} is a node of a Redis Cluster", self.endpoint),
            )),
            _ => Ok(()),
        }
    }

    /// A master of Valkey from 8 on that becomes a replica then says where the new one is. Replicas would send reads away.
    async fn take_redirects(&self, server: &Server, transport: &mut Transport) -> Result<(), Failure> {
        let major = server
            .version
            .as_deref()
            .and_then(|version| version.split('.').next());
        let knows = server.software.as_deref() == Some("valkey")
            && major
                .and_then(|major| major.parse().ok())
                .is_some_and(|major: u32| major >= 8);
        if knows && server.role == ServerRole::Master && self.config.kind == ServerKind::Store {
            let commands = [("CLIENT", cmd("CLIENT").arg("CAPA").arg("redirect").take())];
            self.ask(transport, &commands).await?;
        }
        Ok(())
    }

    fn hello_commands(&self) -> Vec<HandshakeCommand> {
        let mut hello = cmd("HELLO");
        hello.arg(3);
        if let Some(password) = &self.credentials.password {
            let username = self.credentials.username.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(username).arg(password);
        }
        if let Some(name) = &self.config.settings.client_name {
            hello.arg("SETNAME").arg(name);
        }
        let mut commands = vec![("HELLO", hello)];
        for (attribute, value) in [
            ("LIB-NAME", env!("CARGO_PKG_NAME")),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ] {
            commands.push((
                "CLIENT",
                cmd("CLIENT").arg("SETINFO").arg(attribute).arg(value).take(),
            ));
        }
        commands.extend(self.last_commands());
        commands
    }

    fn old_commands(&self) -> Vec<HandshakeCommand> {
        let mut commands = Vec::from_iter(self.auth());
        if let Some(name) = &self.config.settings.client_name {
            commands.push(("CLIENT", cmd("CLIENT").arg("SETNAME").arg(name).take()));
        }
        commands.push(("ROLE", cmd("ROLE")));
        commands.push(("INFO", cmd("INFO").arg("cluster").take()));
        commands.extend(self.last_commands());
        commands
    }

    fn bare_commands(&self) -> Vec<HandshakeCommand> {
        self.auth().into_iter().chain(self.last_commands()).collect()
    }

    fn auth(&self) -> Option<HandshakeCommand> {
        let Credentials { username, password } = &self.credentials;
        let auth = |password| ("AUTH", cmd("AUTH").arg(username).arg(password).take());
        password.as_ref().map(auth)
    }

    fn last_commands(&self) -> impl Iterator<Item = HandshakeCommand> + use<> {
        let db = self.config.db;
        let select = (db != 0).then(|| ("SELECT", cmd("SELECT").arg(db).take()));
        let is_replica = self.config.kind == ServerKind::Replica;
        // Without it a replica sends reads to its master.
        let read = is_replica.then(|| ("READONLY", cmd("READONLY")));
        // A server that is still loading answers to all the rest.
        select.into_iter().chain(read).chain([("PING", cmd("PING"))])
    }

    /// Sends all commands at once, and gives the reply to each.
    async fn ask(
        &self,
        transport: &mut Transport,
        commands: &[HandshakeCommand],
    ) -> Result<Vec<Bytes>, Failure> {
        let mut left: Bytes = commands
            .iter()
            .flat_map(|(_, command)| command.get_packed_command())
            .collect();
        while !left.is_empty() {
            // An error of the server, and of the connection, shows when reading.
            let Ok(written) = transport.write(&left).await else {
                break;
            };
            left.advance(written);
        }
        let mut scanner = Scanner::default();
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            let end = scanner.end(&transport.buffer);
            let is_endless = end == Ok(None) && transport.buffer.len() > LONGEST;
            let end = end
                .ok()
                .filter(|_| !is_endless)
                .ok_or_else(|| Failure::refused(self.not_redis(&transport.buffer)))?;
            if let Some(end) = end {
                let reply = transport.buffer.split_to(end).freeze();
                if replies.is_empty()
                    && let Reply::Error(error) = parse(&reply)?
                {
                    *self.first_error.lock() = Some(without_secrets(&self.credentials, &error));
                }
                replies.push(reply);
            } else {
                transport.buffer.reserve(4 << 10);
                match transport.read().await {
                    Ok(0) => return Err(self.closed()),
                    Ok(_) => {}
                    Err(error) if is_closed(&error) => return Err(self.closed()),
                    Err(error) => return Err(Failure::broken(self.endpoint, &error, false)),
                }
            }
        }
        Ok(replies)
    }

    /// The error shows how the answer begins: the handshake asks for nothing that is secret.
    fn not_redis(&self, answer: &[u8]) -> Error {
        let endpoint = self.endpoint;
        // An alert of TLS.
        if answer.starts_with(&[0x15, 0x03]) && self.config.tls.is_none() {
            let message = format!("{endpoint} has TLS: the url begins with rediss://, or give tls");
            return Error::because(Reason::NeedsTls, message);
        }
        let start = String::from_utf8_lossy(&answer[..answer.len().min(40)]);
        let start = start.escape_debug();
        Error::because(
            Reason::NotRedis,
            format!("{endpoint} is no Redis server: it sent \"{start}\""),
        )
    }

    /// The server has closed the connection in place of an answer, or after an error that says why.
    fn closed(&self) -> Failure {
        let endpoint = self.endpoint;
        let Some(error) = self.first_error.lock().clone() else {
            let hint = match (&self.config.tls, self.endpoint) {
                (None, Endpoint::Tcp { .. }) => ": if its port has TLS, the url begins with rediss://",
                (Some(_), Endpoint::Tcp { .. }) | (_, Endpoint::Unix(_)) => "",
            };
            return Failure {
                closed: true,
                ..Failure::temporary(
                    Reason::ClosedAtOnce,
                    format!("{endpoint} closed the connection at once{hint}"),
                )
            };
        };
        Failure {
            refused: self.refusal("HELLO", &error).unwrap_or_default(),
            closed: self.is_of_hello(&error),
            error,
        }
    }

    /// Whether an error is about HELLO itself, so that RESP 2 may do, and not about credentials or the server's state.
    fn is_of_hello(&self, error: &Error) -> bool {
        match &*error.code {
            // Proxies want AUTH before HELLO.
            "NOAUTH" => self.credentials.password.is_some(),
            "WRONGPASS" | "DENIED" | "LOADING" | "MASTERDOWN" | "BUSY" => false,
            _ => !error.message.starts_with("ERR max number of clients"),
        }
    }

    fn check_all(&self, commands: &[HandshakeCommand], replies: &[Bytes]) -> Result<(), Failure> {
        let mut answered = commands.iter().zip(replies);
        answered.try_for_each(|((command, _), reply)| self.check(command, &parse(reply)?))
    }

    /// Whether the connection can be used after this reply.
    fn check(&self, command: &str, reply: &Reply) -> Result<(), Failure> {
        let error = match reply {
            Reply::Error(error) => error,
            Reply::Status(status) if command == "PING" && status == "PONG" => return Ok(()),
            _ if command != "PING" => return Ok(()),
            _ => {
                return Err(Failure::refused(Error::because(
                    Reason::NotRedis,
                    format!("{} is no Redis server: it does not answer PING", self.endpoint),
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

    /// None if the connection can be used despite the error. True if another attempt would meet the same error.
    fn refusal(&self, command: &str, error: &Error) -> Option<bool> {
        match (command, &*error.code) {
            // Credentials that are asked for may be others the next time.
            (_, "NOAUTH" | "WRONGPASS") => Some(!self.config.asks_credentials()),
            (_, "DENIED") | ("HELLO" | "AUTH" | "SELECT", "NOPERM") | ("AUTH" | "SELECT", "ERR") => {
                Some(true)
            }
            ("HELLO", _) => Some(self.is_of_hello(error)),
            ("AUTH" | "SELECT", _) | (_, "LOADING" | "MASTERDOWN" | "BUSY") => Some(false),
            ("READONLY", _) => Some(true),
            // Names are for CLIENT LIST only, and not every user may PING.
            _ => None,
        }
    }
}

/// A command's name, and the command.
type HandshakeCommand = (&'static str, Cmd);

fn parse(reply: &Bytes) -> Result<Reply<'_>, Failure> {
    decode::parse(reply).map_err(Failure::refused)
}
