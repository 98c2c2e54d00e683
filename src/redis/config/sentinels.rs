//! The Sentinels of a master, and how to connect to them.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::redis::config::{
    Config, Limits, Options, ReadFrom, SentinelOptions, Sentinels, ServerKind, Settings, Target,
    check_username, sentinel_url, tcp,
};
use crate::redis::credentials::Credentials;
use crate::redis::error::invalid;
use crate::redis::provided::Provided;
use crate::redis::tls::{Tls, TlsOptions};

impl Options {
    /// The Sentinels, if a field or the URL names any. What is left of the options is the master's.
    pub(super) fn take_sentinel(&mut self) -> Result<Option<SentinelOptions>> {
        let by_url = self.url.as_deref().map(sentinel_url::parse).transpose()?;
        let by_url = by_url.flatten();
        let names_server = self.host.is_some() || self.port.is_some() || self.path.is_some();
        if (self.sentinel.is_some() && self.url.is_some())
            || (names_server && (self.sentinel.is_some() || by_url.is_some()))
        {
            return Err(invalid(
                "redis.sentinel: Sentinels say where the master is, and so url, host, port and path cannot: give either",
            ));
        }
        let Some(by_url) = by_url else {
            return Ok(self.sentinel.take());
        };
        self.url = Some(by_url.server_url);
        Ok(Some(SentinelOptions {
            name: by_url.name,
            nodes: by_url.nodes,
            username: by_url.username,
            password: by_url.password,
            provided: None,
            tls: None,
            use_tls: None,
        }))
    }
}

impl Sentinels {
    /// `tls` is that of the master's server, if it has any.
    pub(super) fn new(
        options: SentinelOptions,
        tls: Option<&TlsOptions>,
        settings: &Settings,
    ) -> Result<Self> {
        let SentinelOptions {
            name,
            username,
            password,
            provided,
            use_tls,
            ..
        } = options;
        let mut nodes = Vec::new();
        for (host, port) in &options.nodes {
            let node = tcp(host, *port);
            // Watched twice, it would have two votes where it does not say who it is.
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let first = nodes
            .first()
            .ok_or_else(|| invalid("redis.sentinel.nodes: there must be one at least"))?;
        let credentials = Credentials { username, password };
        check_username("redis.sentinel", &credentials, provided.as_ref())?;
        let use_tls = use_tls.unwrap_or(options.tls.is_some() || tls.is_some());
        let tls = options.tls.or_else(|| tls.cloned()).unwrap_or_default();
        let tls = use_tls.then(|| Tls::new(tls).map(Arc::new)).transpose()?;
        let config = Config {
            target: Target::Server(first.clone()),
            kind: ServerKind::Sentinel,
            credentials,
            db: 0,
            tls,
            cluster: None,
            settings: watchers(settings, provided),
        };
        let config = Arc::new(config);
        Ok(Self { name, nodes, config })
    }
}

/// What a watcher takes of a store's settings. The rest is the same for all, as stores whose Sentinels are equal share a watcher.
fn watchers(settings: &Settings, provided: Option<Provided>) -> Settings {
    Settings {
        provided,
        protocol: None,
        client_name: settings.client_name.clone(),
        retry_delay: None,
        connect_timeout: settings.connect_timeout,
        read_from: ReadFrom::Primary,
        limits: Limits {
            timeout: Duration::ZERO,
            queue_timeout: Duration::ZERO,
            max_queue: 0,
            max_retries: None,
            max_reply: 0,
        },
    }
}
