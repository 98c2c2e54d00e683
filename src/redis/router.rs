//! Which connection takes a request. One server has one connection for commands.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::redis::completions::CompletionQueue;
use crate::redis::config::Config;
use crate::redis::connection::Connection;
use crate::redis::pipeline::commands::Commands;
use crate::redis::request::Request;

pub struct Router {
    connection: Connection<Commands>,
}

impl Router {
    pub fn new(config: Arc<Config>, completions: Arc<CompletionQueue>) -> Result<Self> {
        let target = config.target.clone();
        let connection = Connection::new(config, target, completions)?;
        Ok(Self { connection })
    }

    /// Sends requests, in their order.
    pub fn send(&self, requests: impl IntoIterator<Item = Request>, now: Instant) {
        self.connection.with(|pipeline| pipeline.send(requests, now));
    }

    /// The connection that the server is known by.
    pub fn connection(&self) -> &Connection<Commands> {
        &self.connection
    }
}
