//! The options of a Redis store, from TypeScript.

use std::sync::Arc;
use std::time::Duration;

use napi_derive::napi;

use crate::error::Result;
use crate::fanout::streams::Fanout;
use crate::redis::config::{Config, Limits, Options, Settings};
use crate::redis::credentials::{CredentialsProvider, Provided};
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
    pub db: Option<i64>,
    /// The version of RESP.
    pub protocol: Option<u32>,
    pub use_tls: Option<bool>,
    pub tls: Option<RedisTlsOptions>,
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
    /// Whether the handle only serves the framework's callbacks.
    pub for_streams: bool,
}

#[napi(object)]
pub struct RedisTlsOptions {
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    pub servername: Option<String>,
    pub reject_unauthorized: Option<bool>,
}

impl RedisOptions {
    pub fn fanout(&self) -> Fanout {
        match &*self.fanout {
            "all" => Fanout::All,
            "filtered" => Fanout::Filtered,
            _ => Fanout::Targeted,
        }
    }

    /// `provider` provides the credentials that are not in the options.
    pub fn into_config(self, provider: Option<Arc<dyn CredentialsProvider>>) -> Result<Config> {
        let provided = provider.map(|provider| Provided {
            username: self.asks_username,
            password: self.asks_password,
            provider,
        });
        let settings = Settings {
            provided,
            protocol: self.protocol,
            client_name: self.client_name,
            retry_delay: self.retry_delay.map(milliseconds),
            connect_timeout: milliseconds(self.connect_timeout),
            limits: Limits {
                timeout: milliseconds(self.command_timeout),
                max_queue: self.max_queue as usize,
                queue_timeout: Duration::try_from_secs_f64(self.queue_timeout / 1_000.0)
                    .unwrap_or(FOREVER)
                    .min(FOREVER),
                max_retries: self.max_retries,
                max_reply: self.max_reply_size as usize,
            },
        };
        Config::new(Options {
            url: self.url,
            host: self.host,
            port: self.port,
            path: self.path,
            username: self.username,
            password: self.password,
            db: self.db,
            use_tls: self.use_tls,
            tls: self.tls.map(|tls| TlsOptions {
                ca: tls.ca,
                cert: tls.cert,
                key: tls.key,
                servername: tls.servername,
                reject_unauthorized: tls.reject_unauthorized,
            }),
            settings,
        })
    }
}

/// Longer than a process lives, but short enough to be added to a time.
const FOREVER: Duration = Duration::from_secs(1 << 32);

pub fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(u64::from(number))
}
