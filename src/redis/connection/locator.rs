//! Where a connection leads: to a fixed endpoint, to a node of a cluster, or to the master that Sentinels name.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::error::Reason;
use crate::redis::config::{Config, Target};
use crate::redis::connection::failure::Failure;
use crate::redis::connection::sentinel::Watcher;
use crate::redis::connection::sentinel::board::NextMaster;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::{Established, ServerRole};

pub enum Locator {
    Fixed(Endpoint),
    /// By the address that nodes tell.
    Node(Endpoint, Arc<Config>),
    Watched(Arc<Watcher>),
}

impl Locator {
    pub fn new(config: &Arc<Config>, target: &Target, runtime: &Runtime) -> Self {
        match target {
            Target::Server(endpoint) => Self::Fixed(endpoint.clone()),
            Target::Node(told) => Self::Node(told.clone(), config.clone()),
            Target::Master(sentinels) => Self::Watched(Watcher::join(sentinels, runtime)),
        }
    }

    /// Asked before each connection.
    pub async fn locate(&self) -> Result<Endpoint, Failure> {
        match self {
            Self::Fixed(endpoint) => Ok(endpoint.clone()),
            Self::Node(told, config) => config.located(told).await.map_err(Failure::passing),
            Self::Watched(watcher) => watcher.master().await,
        }
    }

    /// As [`Watcher::next`]. Without Sentinels it never returns.
    pub async fn next(&self, from: Option<&Endpoint>) -> NextMaster {
        match self {
            Self::Fixed(_) | Self::Node(..) => pending().await,
            Self::Watched(watcher) => watcher.next(from).await,
        }
    }

    /// As `next`, at once; None if a connection to an endpoint is to stay there.
    pub fn next_now(&self, from: &Endpoint) -> Option<NextMaster> {
        match self {
            Self::Fixed(_) | Self::Node(..) => None,
            Self::Watched(watcher) => watcher.next_now(Some(from)),
        }
    }

    /// Where a connection leads as far as is known without asking.
    pub fn believed(&self) -> Option<Endpoint> {
        match self {
            Self::Fixed(endpoint) | Self::Node(endpoint, _) => Some(endpoint.clone()),
            Self::Watched(watcher) => watcher.believed(),
        }
    }

    /// Whether a server that was asked at a moment will do: Sentinels may name one that is a replica, or is one already. They are doubted then.
    pub fn check(&self, established: &Established, asked: Instant) -> Result<(), Failure> {
        let Self::Watched(watcher) = self else {
            return Ok(());
        };
        let endpoint = &established.endpoint;
        match established.server.role {
            ServerRole::Unknown => return Ok(()),
            ServerRole::Master => {
                watcher.admitted(endpoint);
                return Ok(());
            }
            ServerRole::Replica => watcher.refuted(endpoint, asked),
        }
        let message = format!("{endpoint} is a replica, and the Sentinels name it as the master");
        Err(Failure::temporary(Reason::NotReady, message))
    }

    /// As [`Watcher::promoted`].
    pub fn promoted(&self, replica: &Endpoint) {
        if let Self::Watched(watcher) = self {
            watcher.promoted(replica);
        }
    }

    /// As [`Watcher::certain`]; None without Sentinels.
    pub fn certain(&self, endpoint: &Endpoint) -> Option<Duration> {
        match self {
            Self::Fixed(_) | Self::Node(..) => None,
            Self::Watched(watcher) => watcher.certain(endpoint),
        }
    }

    /// As [`Watcher::left_within`]; None without Sentinels.
    pub fn left_within(&self, time: Duration) -> Option<Duration> {
        match self {
            Self::Fixed(_) | Self::Node(..) => None,
            Self::Watched(watcher) => watcher.left_within(time),
        }
    }
}
