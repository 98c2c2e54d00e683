//! The options of a Redis store, from TypeScript.

use std::sync::Arc;
use std::time::Duration;

use napi_derive::napi;

use crate::addon::redis::asking::{Asking, FunctionProvider};
use crate::error::Result;
use crate::fanout::streams::Fanout;
use crate::redis::config::{ClusterOptions, Config, Limits, Options, ReadFrom, SentinelOptions, Settings};
use crate::redis::endpoint::Endpoint;
use crate::redis::provided::Provided;
use crate::redis::tls::TlsOptions;

#[napi(object)]
pub struct RedisOptions {
    pub url: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// Whether JavaScript is asked for it before each connection.
    pub asks_username: bool,
    pub asks_password: bool,
    pub asks_servername: bool,
    pub db: Option<i64>,
    /// The version of RESP.
    pub protocol: Option<u32>,
    pub use_tls: Option<bool>,
    pub tls: Option<RedisTlsOptions>,
    pub sentinel: Option<RedisSentinelOptions>,
    pub client_name: Option<String>,
    pub prefix: Option<String>,
    pub max_retries: Option<u32>,
    /// In milliseconds, as all times are.
    pub retry_delay: Option<u32>,
    pub command_timeout: u32,
    /// May be infinity.
    pub queue_timeout: f64,
    pub connect_timeout: u32,
    pub max_queue: u32,
    /// In bytes.
    pub max_reply_size: u32,
    /// Whether the runtime is Node.js itself.
    pub is_node: bool,
    #[napi(ts_type = "\"targeted\" | \"filtered\" | \"all\"")]
    pub fanout: String,
    pub cluster: Option<RedisClusterOptions>,
    #[napi(ts_type = "\"primary\" | \"replica\" | \"prefer-replica\"")]
    pub read_from: Option<String>,
}

#[napi(object)]
pub struct RedisSentinelOptions {
    pub name: String,
    pub nodes: Vec<RedisNode>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub asks_username: bool,
    pub asks_password: bool,
    pub asks_servername: bool,
    pub use_tls: Option<bool>,
    pub tls: Option<RedisTlsOptions>,
}

#[napi(object)]
pub struct RedisNode {
    pub host: String,
    pub port: u16,
}

#[napi(object)]
pub struct RedisTlsOptions {
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    pub servername: Option<String>,
    pub reject_unauthorized: Option<bool>,
}

#[napi(object)]
pub struct RedisClusterOptions {
    pub nodes: Vec<RedisNode>,
    /// Where the addresses that nodes tell lead: from, to, from, to, …
    pub addresses: Vec<RedisNode>,
    /// Whether JavaScript is asked for that.
    pub asks_address: bool,
    /// Whether a transaction is split by slot.
    pub splits: bool,
}

impl From<RedisNode> for Endpoint {
    fn from(RedisNode { host, port }: RedisNode) -> Self {
        Self::Tcp { host, port }
    }
}

impl RedisClusterOptions {
    fn into_options(self) -> ClusterOptions {
        let mut addresses = self.addresses.into_iter().map(Endpoint::from);
        let pair = || Some((addresses.next()?, addresses.next()?));
        ClusterOptions {
            addresses: std::iter::from_fn(pair).collect(),
            nodes: self.nodes.into_iter().map(Endpoint::from).collect(),
            splits: self.splits,
        }
    }
}

impl RedisOptions {
    pub fn fanout(&self) -> Fanout {
        match &*self.fanout {
            "all" => Fanout::All,
            "filtered" => Fanout::Filtered,
            _ => Fanout::Targeted,
        }
    }

    /// `asking` has the functions.
    pub fn into_config(mut self, asking: Option<&Arc<Asking>>) -> Result<Config> {
        let provider = |of_sentinels| {
            let asking = asking?.clone();
            Some(Arc::new(FunctionProvider { asking, of_sentinels }))
        };
        let provided = provider(false).and_then(|provider| self.provided(provider));
        let settings = self.settings(provided);
        let sentinel = self.sentinel.take();
        let sentinel = sentinel.map(|sentinel| sentinel.into_options(provider(true)));
        Config::new(Options {
            url: self.url,
            host: self.host,
            port: self.port,
            path: self.path,
            username: self.username,
            password: self.password,
            db: self.db,
            use_tls: self.use_tls,
            cluster: self.cluster.map(RedisClusterOptions::into_options),
            tls: self.tls.map(RedisTlsOptions::into_options),
            sentinel,
            settings,
        })
    }

    fn provided(&self, provider: Arc<FunctionProvider>) -> Option<Provided> {
        let cluster = self.cluster.as_ref();
        used(Provided {
            path: "redis",
            username: self.asks_username,
            password: self.asks_password,
            addresses: cluster.is_some_and(|cluster| cluster.asks_address),
            server_name: self.asks_servername.then_some("redis.tls"),
            provider,
        })
    }

    fn settings(&mut self, provided: Option<Provided>) -> Settings {
        Settings {
            provided,
            protocol: self.protocol,
            client_name: self.client_name.take(),
            retry_delay: self.retry_delay.map(milliseconds),
            connect_timeout: milliseconds(self.connect_timeout),
            read_from: match self.read_from.as_deref() {
                Some("replica") => ReadFrom::Replica,
                Some("prefer-replica") => ReadFrom::PreferReplica,
                _ => ReadFrom::Primary,
            },
            limits: Limits {
                timeout: milliseconds(self.command_timeout),
                max_queue: self.max_queue as usize,
                queue_timeout: Duration::try_from_secs_f64(self.queue_timeout / 1_000.0)
                    .unwrap_or(FOREVER)
                    .min(FOREVER),
                max_retries: self.max_retries,
                max_reply: self.max_reply_size as usize,
            },
        }
    }
}

impl RedisSentinelOptions {
    fn into_options(self, provider: Option<Arc<FunctionProvider>>) -> SentinelOptions {
        let provided = provider.and_then(|provider| self.provided(provider));
        let nodes = self.nodes.into_iter();
        SentinelOptions {
            provided,
            name: self.name,
            nodes: nodes.map(|node| (node.host, node.port)).collect(),
            username: self.username,
            password: self.password,
            tls: self.tls.map(RedisTlsOptions::into_options),
            use_tls: self.use_tls,
        }
    }

    fn provided(&self, provider: Arc<FunctionProvider>) -> Option<Provided> {
        // What is not said of the Sentinels' TLS is as with the master.
        let tls = self.tls.as_ref().map_or("redis.tls", |_| "redis.sentinel.tls");
        used(Provided {
            path: "redis.sentinel",
            username: self.asks_username,
            password: self.asks_password,
            addresses: false,
            server_name: self.asks_servername.then_some(tls),
            provider,
        })
    }
}

/// Nothing if no field is a function.
fn used(provided: Provided) -> Option<Provided> {
    let is_used = provided.has_credentials() || provided.addresses || provided.server_name.is_some();
    is_used.then_some(provided)
}

impl RedisTlsOptions {
    fn into_options(self) -> TlsOptions {
        TlsOptions {
            ca: self.ca,
            cert: self.cert,
            key: self.key,
            servername: self.servername,
            reject_unauthorized: self.reject_unauthorized,
        }
    }
}

/// Longer than a process lives, and not too long to be added to a time.
const FOREVER: Duration = Duration::from_secs(1 << 32);

pub fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(u64::from(number))
}
