//! Where the server is, and how long to wait for it.

mod asked;
mod sentinel_url;
mod sentinels;
mod server_url;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::ConnectionAddr;

use crate::error::Result;
use crate::redis::credentials::Credentials;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::{invalid, no_unix_sockets};
use crate::redis::provided::Provided;
use crate::redis::tls::{Tls, TlsOptions};

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
    /// In place of a server's address, as is `sentinel`.
    pub cluster: Option<ClusterOptions>,
    pub sentinel: Option<SentinelOptions>,
    pub settings: Settings,
}

/// Sentinels that know where a master is, as JavaScript or a URL gives them.
pub struct SentinelOptions {
    /// The master's.
    pub name: String,
    pub nodes: Vec<(String, u16)>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// What functions give in place of these.
    pub provided: Option<Provided>,
    /// As with the master, where neither says otherwise.
    pub tls: Option<TlsOptions>,
    pub use_tls: Option<bool>,
}

/// Settings outside the URL.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// What functions give in place of what is configured.
    pub provided: Option<Provided>,
    /// The version of RESP, where the server is not to choose it.
    pub protocol: Option<u32>,
    pub client_name: Option<String>,
    /// A fixed wait between attempts to connect.
    pub retry_delay: Option<Duration>,
    pub connect_timeout: Duration,
    pub read_from: ReadFrom,
    pub limits: Limits,
}

/// Where a store's server is.
#[derive(Clone, PartialEq)]
pub enum Target {
    Server(Endpoint),
    /// A node of a cluster, by the address that nodes tell.
    Node(Endpoint),
    /// A master that may move: Sentinels know where it is.
    Master(Arc<Sentinels>),
}

pub struct Sentinels {
    /// The master's name.
    pub name: String,
    pub nodes: Vec<Endpoint>,
    /// How to connect to one of the nodes.
    pub config: Arc<Config>,
}

impl Sentinels {
    /// Whether both know the same master, in whatever order they are given.
    fn are_same(&self, other: &Self) -> bool {
        let mut nodes = self.nodes.iter();
        // None is there twice.
        self.name == other.name
            && self.nodes.len() == other.nodes.len()
            && nodes.all(|node| other.nodes.contains(node))
    }
}

/// Stores whose Sentinels are equal share a watcher.
impl PartialEq for Sentinels {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.config, &other.config);
        self.are_same(other)
            && (&one.credentials, &one.tls, &one.settings) == (&two.credentials, &two.tls, &two.settings)
    }
}

impl Target {
    /// Whether both lead to the same data. How the Sentinels are connected to makes no difference.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Master(one), Self::Master(other)) => one.are_same(other),
            _ => self == other,
        }
    }
}

/// As errors name it.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Server(endpoint) | Self::Node(endpoint) => endpoint.fmt(formatter),
            Self::Master(sentinels) => write!(formatter, "the master {:?}", sentinels.name),
        }
    }
}

/// What a server is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// It has all keys.
    Store,
    Sentinel,
    /// It has a copy of a part of a cluster's keys, and is read from.
    Replica,
}

/// Which nodes of a cluster take commands that only read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadFrom {
    #[default]
    Primary,
    Replica,
    /// The master where no replica is ready.
    PreferReplica,
}

/// Stores whose configurations are equal share their subscribing connection.
#[derive(Clone, PartialEq)]
pub struct Config {
    pub target: Target,
    pub kind: ServerKind,
    pub credentials: Credentials,
    pub db: i64,
    pub tls: Option<Arc<Tls>>,
    pub cluster: Option<ClusterOptions>,
    pub settings: Settings,
}

/// Where a cluster is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Some nodes, by which the others are found.
    pub nodes: Vec<Endpoint>,
    /// Where the addresses that nodes tell lead from here.
    pub addresses: Vec<(Endpoint, Endpoint)>,
    /// Whether a transaction with keys of several slots is split by slot.
    pub splits: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For a command's answer, from when there is a connection.
    pub timeout: Duration,
    /// How long a request may wait for a connection.
    pub queue_timeout: Duration,
    /// How many requests may wait for a connection.
    pub max_queue: usize,
    /// How many failed attempts to connect a waiting request survives; None for any number within its time.
    pub max_retries: Option<u32>,
    /// The most bytes of a reply.
    pub max_reply: usize,
}

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 6379;

impl Config {
    pub fn new(mut options: Options) -> Result<Self> {
        if options.cluster.is_some() {
            check_cluster(&options)?;
        }
        let sentinel = options.take_sentinel()?;
        if sentinel.is_some() && options.settings.read_from != ReadFrom::Primary {
            return Err(invalid(
                "redis.readFrom: with Sentinels all commands go to the master: leave it out, or give the address of a replica as redis.url",
            ));
        }
        let url = options.url.as_deref().map(server_url::parse).transpose()?;
        let by_url = url.as_ref().map(redis::ConnectionInfo::redis_settings);
        let (endpoint, tls_by_url) = match options.cluster.as_ref().and_then(|cluster| cluster.nodes.first())
        {
            Some(node) => (node.clone(), false),
            None => endpoint(&options, url.as_ref())?,
        };
        let credentials = credentials(&mut options, by_url)?;
        let use_tls = options.use_tls.unwrap_or(options.tls.is_some() || tls_by_url);
        let tls = use_tls.then(|| options.tls.unwrap_or_default());
        let target = match sentinel {
            Some(sentinel) => Target::Master(Arc::new(Sentinels::new(
                sentinel,
                tls.as_ref(),
                &options.settings,
            )?)),
            None if use_tls && matches!(endpoint, Endpoint::Unix(_)) => {
                return Err(invalid("redis.tls: a unix socket has no TLS"));
            }
            None => Target::Server(endpoint),
        };
        let tls = tls.map(Tls::new).transpose()?;
        let asks_name = options.settings.provided.as_ref();
        let asks_name = asks_name.is_some_and(|provided| provided.server_name.is_some());
        if let (Some(tls), Target::Server(Endpoint::Tcp { host, .. }), false) = (&tls, &target, asks_name) {
            tls.name_of(host)?;
        }
        Ok(Self {
            target,
            kind: ServerKind::Store,
            credentials,
            db: options
                .db
                .unwrap_or(by_url.map_or(0, redis::RedisConnectionInfo::db)),
            tls: tls.map(Arc::new),
            cluster: options.cluster,
            settings: options.settings,
        })
    }

    /// The same at a cluster, of which the server is a node.
    pub fn as_cluster(&self) -> Self {
        Self {
            cluster: Some(ClusterOptions::default()),
            ..self.clone()
        }
    }

    /// The same for reads of a replica.
    pub fn of_replica(&self) -> Self {
        Self {
            kind: ServerKind::Replica,
            ..self.clone()
        }
    }

    /// The nodes by which a cluster is found.
    pub fn seeds(&self) -> Vec<Endpoint> {
        match &self.cluster {
            Some(cluster) if !cluster.nodes.is_empty() => cluster.nodes.clone(),
            _ => match &self.target {
                Target::Server(endpoint) => vec![endpoint.clone()],
                Target::Node(_) | Target::Master(_) => Vec::new(),
            },
        }
    }
}

/// The endpoint, and whether the URL asks for TLS.
fn endpoint(options: &Options, url: Option<&redis::ConnectionInfo>) -> Result<(Endpoint, bool)> {
    let (endpoint, tls) = match url.map(redis::ConnectionInfo::addr) {
        None => (tcp(DEFAULT_HOST, DEFAULT_PORT), false),
        Some(ConnectionAddr::Tcp(host, port)) => (tcp(host, *port), false),
        Some(ConnectionAddr::TcpTls { host, port, .. }) => (tcp(host, *port), true),
        Some(ConnectionAddr::Unix(path)) => (unix(path.clone())?, false),
        Some(_) => return Err(invalid("redis.url: this kind of address is not supported")),
    };
    if let Some(path) = &options.path {
        return Ok((unix(path.into())?, tls));
    }
    if options.host.is_none() && options.port.is_none() {
        return Ok((endpoint, tls));
    }
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port } => (host, port),
        Endpoint::Unix(_) => (DEFAULT_HOST.to_owned(), DEFAULT_PORT),
    };
    let host = options.host.as_deref().unwrap_or(&host);
    Ok((tcp(host, options.port.unwrap_or(port)), tls))
}

fn credentials(options: &mut Options, by_url: Option<&redis::RedisConnectionInfo>) -> Result<Credentials> {
    let text = |given: &mut Option<String>, by_url: Option<&str>| {
        let by_url = by_url.filter(|text| !text.is_empty());
        given.take().or_else(|| by_url.map(str::to_owned))
    };
    let username = by_url.and_then(redis::RedisConnectionInfo::username);
    let password = by_url.and_then(redis::RedisConnectionInfo::password);
    let credentials = Credentials {
        username: text(&mut options.username, username),
        password: text(&mut options.password, password),
    };
    check_username("redis", &credentials, options.settings.provided.as_ref())?;
    Ok(credentials)
}

/// Checks what stands beside the nodes of a cluster.
fn check_cluster(options: &Options) -> Result<()> {
    let names_server = [&options.url, &options.host, &options.path]
        .iter()
        .any(|field| field.is_some());
    if names_server || options.port.is_some() || options.sentinel.is_some() {
        return Err(invalid(
            "redis.cluster: its nodes say where the servers are, and so url, host, port, path and sentinel cannot: give either",
        ));
    }
    match options.db {
        None | Some(0) => Ok(()),
        Some(_) => Err(invalid("redis.db: a cluster has no database but 0")),
    }
}

/// AUTH takes both: without a password the server would take us for its default user. `path` is where they are configured.
fn check_username(path: &str, credentials: &Credentials, provided: Option<&Provided>) -> Result<()> {
    let provides = |field: fn(&Provided) -> bool| provided.is_some_and(field);
    let has_name = credentials
        .username
        .as_ref()
        .is_some_and(|name| name != "default");
    let has_password = credentials.password.is_some() || provides(|provided| provided.password);
    if !has_password && (has_name || provides(|provided| provided.username)) {
        return Err(invalid(format!(
            "{path}.username: a user needs a password (any, for a user with nopass)"
        )));
    }
    Ok(())
}

fn tcp(host: &str, port: u16) -> Endpoint {
    let host = host.to_owned();
    Endpoint::Tcp { host, port }
}

fn unix(path: PathBuf) -> Result<Endpoint> {
    if cfg!(unix) {
        Ok(Endpoint::Unix(path))
    } else {
        Err(no_unix_sockets())
    }
}
