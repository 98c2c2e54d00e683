//! Where the server is, and how patient to be with it.

use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::pipeline::Limits;
use super::tls::{Tls, TlsOptions};
use crate::error::{Error, Result};

/// As JavaScript gives it, each field of its right type. What is given beside the URL wins.
pub struct Options {
    pub url: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub db: Option<i64>,
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
    pub db: i64,
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
        let text = |given: Option<String>, by_url: Option<&str>| given.or_else(|| by_url.map(str::to_owned));
        Ok(Self {
            address,
            username: text(
                options.username,
                settings.and_then(redis::RedisConnectionInfo::username),
            ),
            password: text(
                options.password,
                settings.and_then(redis::RedisConnectionInfo::password),
            ),
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
fn parse(url: &str) -> Result<redis::ConnectionInfo> {
    let info = url.into_connection_info().map_err(|error| {
        let error = error.to_string();
        let what = error.split(" - ").next().unwrap_or_default();
        let form = "redis://user:password@host:6379/0, rediss://… with TLS, or unix:///path?db=0";
        invalid(format!("redis.url: {what}. It must be like {form}"))
    })?;
    match info.redis_settings().db() {
        0.. => Ok(info),
        _ => Err(invalid("redis.url: the number of a database is not negative")),
    }
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::ours("CONFIG", message.into())
}
