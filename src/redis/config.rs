//! Where the server is, and how patient to be with it.

use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::error::{Error, Reason, Result};
use crate::redis::credentials::Asked;
use crate::redis::pipeline::Limits;
use crate::redis::tls::{Tls, TlsOptions};

/// As JavaScript gives it, each field of its right type. What is given beside the URL wins.
pub struct Options {
    pub url: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// What is asked for in place of the two above.
    pub asked: Option<Asked>,
    pub db: Option<i64>,
    /// The version of RESP, where it is not for the server to say.
    pub protocol: Option<u32>,
    pub tls: Option<TlsOptions>,
    /// TLS, or none, whatever the URL says.
    pub use_tls: Option<bool>,
    pub client_name: Option<String>,
    pub retry_delay: Option<Duration>,
    pub connect_timeout: Duration,
    pub limits: Limits,
}

/// Stores whose configurations are equal share their subscribing connection.
#[derive(PartialEq)]
pub struct Config {
    pub address: Address,
    pub username: Option<String>,
    pub password: Option<String>,
    /// What is asked for in place of the two above.
    pub asked: Option<Asked>,
    pub db: i64,
    /// The version of RESP, where it is not for the server to say.
    pub protocol: Option<u32>,
    pub client_name: Option<String>,
    pub tls: Option<Tls>,
    /// A fixed wait between attempts to connect.
    pub retry_delay: Option<Duration>,
    pub connect_timeout: Duration,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 6379;

impl Config {
    pub fn new(options: Options) -> Result<Self> {
        let url = options.url.as_deref().map(parse).transpose()?;
        let settings = url.as_ref().map(redis::ConnectionInfo::redis_settings);
        let (mut address, tls_by_url) = match url.as_ref().map(redis::ConnectionInfo::addr) {
            None => (tcp(DEFAULT_HOST, DEFAULT_PORT), false),
            Some(ConnectionAddr::Tcp(host, port)) => (tcp(host, *port), false),
            Some(ConnectionAddr::TcpTls { host, port, .. }) => (tcp(host, *port), true),
            Some(ConnectionAddr::Unix(path)) => (Address::Unix(path.clone()), false),
            Some(_) => return Err(invalid("redis.url: this kind of address is not supported")),
        };
        if let Some(path) = options.path {
            address = Address::Unix(path.into());
        } else if options.host.is_some() || options.port.is_some() {
            let (host, port) = match address {
                Address::Tcp { host, port } => (host, port),
                Address::Unix(_) => (DEFAULT_HOST.to_owned(), DEFAULT_PORT),
            };
            address = tcp(
                options.host.as_deref().unwrap_or(&host),
                options.port.unwrap_or(port),
            );
        }
        let use_tls = options.use_tls.unwrap_or(options.tls.is_some() || tls_by_url);
        let tls = match &address {
            Address::Tcp { host, .. } if use_tls => Some(Tls::new(options.tls.unwrap_or_default(), host)?),
            Address::Unix(_) if use_tls => {
                return Err(invalid("redis.tls: a unix socket has no TLS"));
            }
            _ => None,
        };
        let text = |given: Option<String>, by_url: Option<&str>| {
            let by_url = by_url.filter(|text| !text.is_empty());
            given.or_else(|| by_url.map(str::to_owned))
        };
        let username = text(
            options.username,
            settings.and_then(redis::RedisConnectionInfo::username),
        );
        let password = text(
            options.password,
            settings.and_then(redis::RedisConnectionInfo::password),
        );
        // AUTH takes both: without a password the server would take us for its default user.
        let asks = |field: fn(&Asked) -> bool| options.asked.as_ref().is_some_and(field);
        let has_name = username.as_ref().is_some_and(|name| name != "default");
        let has_password = password.is_some() || asks(|asked| asked.password);
        if !has_password && (has_name || asks(|asked| asked.username)) {
            return Err(invalid(
                "redis.username: a user needs a password (any, for a user with nopass)",
            ));
        }
        Ok(Self {
            address,
            username,
            password,
            asked: options.asked,
            protocol: options.protocol,
            db: options
                .db
                .unwrap_or(settings.map_or(0, redis::RedisConnectionInfo::db)),
            client_name: options.client_name,
            tls,
            retry_delay: options.retry_delay,
            connect_timeout: options.connect_timeout,
            limits: options.limits,
        })
    }

    /// The server, as errors name it.
    pub fn place(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }
}

fn tcp(host: &str, port: u16) -> Address {
    let host = host.to_owned();
    Address::Tcp { host, port }
}

/// What redis-rs says of a URL that is wrong names the part, and none of its text.
fn parse(text: &str) -> Result<redis::ConnectionInfo> {
    let Some(url) = redis::parse_redis_url(text) else {
        return Err(wrong_url("Redis URL did not parse"));
    };
    let is_unix = url.scheme().ends_with("unix");
    if url.fragment().is_some() {
        return Err(wrong_url("nothing may follow a #"));
    }
    if is_unix && (!url.username().is_empty() || url.password().is_some()) {
        return Err(wrong_url(
            "the user and the password of a socket are ?user= and &pass=",
        ));
    }
    let mut databases = Vec::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => databases.push(value.parse().map_err(|_| wrong_url("Invalid database number"))?),
            "user" | "pass" if is_unix => {}
            _ => return Err(unknown_parameter(&name, url.query())),
        }
    }
    let info = url
        .clone()
        .into_connection_info()
        .map_err(|error| wrong_url(error.to_string().split(" - ").next().unwrap_or_default()))?;
    let settings = info.redis_settings().clone();
    if !is_unix && !url.path().trim_matches('/').is_empty() {
        databases.push(settings.db());
    }
    let db = databases.first().copied().unwrap_or_default();
    if databases.iter().any(|other| *other != db) {
        return Err(wrong_url("it names two databases"));
    }
    if db < 0 {
        return Err(wrong_url("the number of a database is not negative"));
    }
    Ok(info.set_redis_settings(settings.set_db(db)))
}

/// A password that is not encoded may have come to stand in the query: then there is an @.
fn unknown_parameter(name: &str, query: Option<&str>) -> Error {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    if query.is_some_and(|query| query.contains('@')) || !name.chars().all(is_name) {
        return wrong_url("its query has a parameter that is not known");
    }
    wrong_url(&format!("the parameter {name} is not known: give it as a field"))
}

fn wrong_url(what: &str) -> Error {
    let form = "redis://user:password@host:6379/0, rediss://… with TLS, or unix:///path?db=0";
    invalid(format!("redis.url: {what}. It must be like {form}"))
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::because(Reason::Address, message.into())
}
