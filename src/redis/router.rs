//! Which connection takes a request. One server has one connection for commands; a cluster has one to each master.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::redis::cluster::node_events;
use crate::redis::cluster::publishing::Listen;
use crate::redis::cluster::router::ClusterRouter;
use crate::redis::completions::CompletionQueue;
use crate::redis::config::Config;
use crate::redis::connection::Connection;
use crate::redis::pipeline::Health;
use crate::redis::pipeline::commands::Commands;
use crate::redis::pipeline::in_flight::Server;
use crate::redis::request::{Id, Request};

pub enum Router {
    One(Arc<Connection<Commands>>),
    Cluster(Arc<ClusterRouter>),
}

impl Router {
    /// Opens nothing yet. `listen` is what a cluster's messages keep their order by.
    pub fn new(config: Arc<Config>, completions: Arc<CompletionQueue>, listen: Listen) -> Result<Self> {
        if config.cluster.is_some() {
            return Ok(Self::Cluster(ClusterRouter::new(config, completions, listen)?));
        }
        let target = config.target.clone();
        let connection = Connection::new(config, target, completions)?;
        Ok(Self::One(Arc::new(connection)))
    }

    /// Has connections opened, and opened again when they are lost, from this call on.
    pub fn start(&self) {
        match self {
            Self::One(connection) => connection.start(),
            Self::Cluster(cluster) => node_events::start(cluster),
        }
    }

    /// Answers `id` once there is a connection.
    pub fn connect(&self, id: Id) {
        match self {
            Self::One(connection) => connection.with(|pipeline| pipeline.connect(id)),
            Self::Cluster(cluster) => cluster.connect(id),
        }
    }

    /// Sends requests, in their order: in a cluster in that of each slot.
    pub fn send(&self, requests: impl IntoIterator<Item = Request>, now: Instant) {
        match self {
            Self::One(connection) => connection.with(|pipeline| pipeline.send(requests, now)),
            Self::Cluster(cluster) => cluster.send(requests, now),
        }
    }

    /// Whether requests need their routes: a server that has said nothing yet may be a node of a cluster.
    pub fn may_be_cluster(&self) -> bool {
        match self {
            Self::One(connection) => connection.with(|pipeline| !pipeline.is_connected()),
            Self::Cluster(_) => true,
        }
    }

    /// Whether it is a cluster. None of one server that has said nothing yet.
    pub fn is_cluster(&self) -> Option<bool> {
        match self {
            Self::One(connection) => connection.with(|pipeline| pipeline.was_heard().then_some(false)),
            Self::Cluster(_) => Some(true),
        }
    }

    /// Who is at the other end, while there is a connection.
    pub fn server(&self) -> Option<Server> {
        match self {
            Self::One(connection) => connection.with(|pipeline| pipeline.server().cloned()),
            Self::Cluster(cluster) => cluster.server(),
        }
    }

    /// How each connection does.
    pub fn health(&self) -> Vec<Health> {
        match self {
            Self::One(connection) => vec![connection.with(|pipeline| pipeline.health())],
            Self::Cluster(cluster) => cluster.health(),
        }
    }

    /// Answers `id` once all that was asked for is answered and the connections are closed.
    pub fn close(&self, id: Id) {
        match self {
            Self::One(connection) => connection.close(id),
            Self::Cluster(cluster) => cluster.close(id),
        }
    }

    /// Drops the connections. Open requests never get an answer.
    pub fn abandon(&self) {
        match self {
            Self::One(connection) => connection.abandon(),
            Self::Cluster(cluster) => cluster.abandon(),
        }
    }

    /// Calls `each` with every connection.
    pub fn each_connection(&self, mut each: impl FnMut(&Arc<Connection<Commands>>)) {
        match self {
            Self::One(connection) => each(connection),
            Self::Cluster(cluster) => cluster.each_connection(each),
        }
    }
}
