//! From an address to a connection that the server has greeted.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use redis::{Cmd, cmd};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use super::config::{Address, Config};
use super::connection::{Greeted, Server, ServerRole};
use super::plain::Registered;
use super::resp::{self, Scanner};
use super::tls;
use super::transport::Transport;
use crate::error::{Error, Reason};
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
}

/// A connection that the server has greeted.
pub type Opened = (Transport, Greeted);

pub async fn open(config: &Config) -> Result<Opened, Failure> {
    let in_tls = AtomicBool::new(false);
    let opened = async {
        let mut transport = connect(config, &in_tls).await?;
        let (server, round_trip) = greet(config, &mut transport).await?;
        let greeted = Greeted {
            eager: transport.eager(),
            server,
            round_trip,
        };
        Ok((transport, greeted))
    };
    let late = |_| {
        let timeout = config.connect_timeout.as_millis();
        let in_tls = in_tls.load(Ordering::Relaxed);
        let reason = if in_tls { Reason::Tls } else { Reason::NoAnswer };
        let how = if in_tls { " as a server with TLS does" } else { "" };
        let place = config.place();
        Err(temporary(
            reason,
            format!("{place} did not answer{how} within {timeout} ms"),
        ))
    };
    tokio::time::timeout(config.connect_timeout, opened)
        .await
        .unwrap_or_else(late)
}

async fn connect(config: &Config, in_tls: &AtomicBool) -> Result<Transport, Failure> {
    match &config.address {
        Address::Tcp { host, port } => {
            let stream = connect_tcp(host, *port).await?;
            let Some(tls) = &config.tls else {
                return plain(Registered::Tcp(stream));
            };
            in_tls.store(true, Ordering::Relaxed);
            tls.wrap(stream)
                .await
                .map(Transport::tls)
                .map_err(|error| Failure {
                    refused: error.kind() == io::ErrorKind::InvalidData,
                    error: Error::because(
                        tls::reason_of(&error),
                        format!("TLS with {}: {error}", config.place()),
                    ),
                })
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await;
            let stream = stream
                .map_err(|error| temporary(not_reached([&error]), format!("{}: {error}", path.display())))?;
            plain(Registered::Unix(stream))
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err(Failure {
            error: Error::because(Reason::UnixSocket, "this system has no unix sockets"),
            refused: true,
        }),
    }
}

fn plain(stream: Registered) -> Result<Transport, Failure> {
    Transport::plain(stream).map_err(|error| temporary(Reason::Internal, error.to_string()))
}

/// Tries all addresses of a host at once, and takes the one that answers first.
async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((host, port)).await;
    let unknown = |error| {
        temporary(
            Reason::UnknownHost,
            format!("no address of {host} was found: {error}"),
        )
    };
    let addresses = addresses.map_err(unknown)?;
    let mut attempts = JoinSet::new();
    for address in addresses {
        attempts.spawn(async move { (address, TcpStream::connect(address).await) });
    }
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok((_, Ok(stream))) => return tuned(stream),
            Ok((address, Err(error))) => failures.push((address, error)),
            Err(error) => return Err(temporary(Reason::Internal, error.to_string())),
        }
    }
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

/// Speaks RESP 3 with the server, RESP 2 with one that knows no other. What it is, and how long it took to answer.
async fn greet(config: &Config, transport: &mut Transport) -> Result<(Server, Duration), Failure> {
    let questions = greeting(config);
    let asked = Instant::now();
    let replies = ask(config, transport, &questions).await?;
    let round_trip = asked.elapsed();
    let hello = parse(&replies[0])?;
    let knows_no_resp_3 = matches!(&hello, Reply::Error(error)
        if error.code == "NOPROTO" || error.message.starts_with("ERR unknown command"));
    if !knows_no_resp_3 {
        check_all(config, &questions, &replies)?;
        return Ok((described(&hello), round_trip));
    }
    let questions = old_greeting(config);
    let replies = ask(config, transport, &questions).await?;
    check_all(config, &questions, &replies)?;
    let role = questions
        .iter()
        .zip(&replies)
        .find(|((name, _), _)| *name == "ROLE");
    let server = Server {
        resp: 2,
        role: role.map_or(Ok(ServerRole::Unknown), |(_, reply)| {
            parse(reply).map(|reply| role_of(&reply))
        })?,
        ..Server::default()
    };
    Ok((server, round_trip))
}

/// A command's name, and the command.
type Question = (&'static str, Cmd);

fn greeting(config: &Config) -> Vec<Question> {
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(password) = &config.password {
        let username = config.username.as_deref().unwrap_or("default");
        hello.arg("AUTH").arg(username).arg(password);
    }
    if let Some(name) = &config.client_name {
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
    questions.extend(last_questions(config));
    questions
}

fn old_greeting(config: &Config) -> Vec<Question> {
    let mut questions = Vec::new();
    if let Some(password) = &config.password {
        questions.push(("AUTH", cmd("AUTH").arg(&config.username).arg(password).take()));
    }
    if let Some(name) = &config.client_name {
        questions.push(("CLIENT", cmd("CLIENT").arg("SETNAME").arg(name).take()));
    }
    questions.push(("ROLE", cmd("ROLE")));
    questions.extend(last_questions(config));
    questions
}

fn last_questions(config: &Config) -> impl Iterator<Item = Question> {
    let select = (config.db != 0).then(|| ("SELECT", cmd("SELECT").arg(config.db).take()));
    // A server that is still loading answers to all the rest.
    select.into_iter().chain([("PING", cmd("PING"))])
}

/// Asks all at once. The reply to each.
async fn ask(
    config: &Config,
    transport: &mut Transport,
    questions: &[Question],
) -> Result<Vec<Bytes>, Failure> {
    let lost = |error: io::Error| temporary(Reason::ClosedAtOnce, format!("{}: {error}", config.place()));
    let mut left: Bytes = questions
        .iter()
        .flat_map(|(_, command)| command.get_packed_command())
        .collect();
    while !left.is_empty() {
        let written = transport.write(&left).await.map_err(lost)?;
        left.advance(written);
    }
    let mut scanner = Scanner::default();
    let mut replies = Vec::with_capacity(questions.len());
    while replies.len() < questions.len() {
        let end = scanner.end(&transport.buffer);
        let is_endless = end == Ok(None) && transport.buffer.len() > LONGEST;
        let end = end.ok().filter(|_| !is_endless).ok_or_else(|| Failure {
            error: no_redis(config, &transport.buffer),
            refused: true,
        })?;
        if let Some(end) = end {
            replies.push(transport.buffer.split_to(end).freeze());
        } else {
            transport.buffer.reserve(4 << 10);
            if transport.read().await.map_err(lost)? == 0 {
                return Err(temporary(
                    Reason::ClosedAtOnce,
                    format!("{} closed the connection at once", config.place()),
                ));
            }
        }
    }
    Ok(replies)
}

/// With how it answers: the greeting asks for nothing that is secret.
fn no_redis(config: &Config, answer: &[u8]) -> Error {
    let start = String::from_utf8_lossy(&answer[..answer.len().min(40)]);
    let (place, start) = (config.place(), start.escape_debug());
    Error::because(
        Reason::NotRedis,
        format!("{place} is no Redis server: it sent \"{start}\""),
    )
}

fn parse(reply: &Bytes) -> Result<Reply<'_>, Failure> {
    resp::parse(reply).map_err(|error| Failure { error, refused: true })
}

fn check_all(config: &Config, questions: &[Question], replies: &[Bytes]) -> Result<(), Failure> {
    let mut answered = questions.iter().zip(replies);
    answered.try_for_each(|((command, _), reply)| check(config, command, &parse(reply)?))
}

/// Whether the connection can be used after this reply.
fn check(config: &Config, command: &str, reply: &Reply) -> Result<(), Failure> {
    let error = match reply {
        Reply::Error(error) => error,
        Reply::Status(status) if command == "PING" && status == "PONG" => return Ok(()),
        _ if command != "PING" => return Ok(()),
        _ => {
            return Err(Failure {
                error: Error::because(
                    Reason::NotRedis,
                    format!("{} is no Redis server: it does not answer PING", config.place()),
                ),
                refused: true,
            });
        }
    };
    let refused = match (command, &*error.code) {
        (_, "NOAUTH" | "WRONGPASS")
        | ("HELLO" | "AUTH" | "SELECT", "NOPERM")
        | ("AUTH" | "SELECT", "ERR") => true,
        ("HELLO" | "AUTH" | "SELECT", _) | (_, "LOADING" | "MASTERDOWN" | "BUSY") => false,
        // Names are for CLIENT LIST only, and not every user may PING.
        _ => return Ok(()),
    };
    let error = without_secrets(config, error);
    Err(Failure { error, refused })
}

/// Servers, and proxies before them, may show the arguments of a command that they do not know.
fn without_secrets(config: &Config, error: &Error) -> Error {
    let text = error.message.split(", with args").next().unwrap_or_default();
    match &config.password {
        Some(password) => Error::reply(masked(text, password)),
        None => Error::reply(text.to_owned()),
    }
}

/// What Redis says of passwords without showing any.
const KNOWN: [&str; 4] = [
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOAUTH HELLO must be called with the client already authenticated",
    "ERR AUTH <password> called without any password configured",
    "ERR Client sent AUTH, but no password is set",
];

/// Without the password. A short one that is a part of a longer word was not sent by us.
fn masked(text: &str, password: &str) -> String {
    const LONG: usize = 8;
    if password.is_empty() || KNOWN.iter().any(|known| text.starts_with(known)) {
        return text.to_owned();
    }
    let is_of_word = |at: Option<char>| at.is_some_and(char::is_alphanumeric);
    let (first, last) = (password.chars().next(), password.chars().last());
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(password) {
        let (before, after) = (&rest[..at], &rest[at + password.len()..]);
        let begins_within = is_of_word(first) && is_of_word(before.chars().last().or(masked.chars().last()));
        let ends_within = is_of_word(last) && is_of_word(after.chars().next());
        let is_ours = password.len() >= LONG || !(begins_within || ends_within);
        masked.push_str(before);
        masked.push_str(if is_ours { "***" } else { password });
        rest = after;
    }
    masked.push_str(rest);
    masked
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

/// ROLE's reply begins with its name.
fn role_of(reply: &Reply) -> ServerRole {
    let name = match reply {
        Reply::Array(items) => items.first(),
        _ => None,
    };
    match name {
        Some(Reply::Bulk(name)) if **name == *b"master" => ServerRole::Master,
        Some(Reply::Bulk(name)) if **name == *b"slave" => ServerRole::Replica,
        _ => ServerRole::Unknown,
    }
}

fn temporary(reason: Reason, message: String) -> Failure {
    Failure {
        error: Error::because(reason, message),
        refused: false,
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    /// "invalid username-pass*** pair" was shown to whoever had the password `word`.
    #[test]
    fn a_password_is_masked_as_a_word_and_not_within_one() {
        let known = "WRONGPASS invalid username-password pair or user is disabled.";
        for password in ["word", "password", "pair", "user", "a", "WRONGPASS"] {
            assert_eq!(masked(known, password), known);
        }
        let shown =
            "ERR unknown command 'AUTH' with 'hunter2' for user:hunter2@host, not hunter22 or ahunter2";
        assert_eq!(
            masked(shown, "hunter2"),
            "ERR unknown command 'AUTH' with '***' for user:***@host, not hunter22 or ahunter2"
        );
        assert_eq!(masked("ERR \\x00long-secret0", "long-secret"), "ERR \\x00***0");
        assert_eq!(masked("ERR -é!-é!a", "-é!"), "ERR ******a");
        assert_eq!(masked("ERR aaaa a", "a"), "ERR aaaa ***");
        assert_eq!(masked("ERR text", ""), "ERR text");
    }
}
