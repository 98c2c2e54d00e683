//! A connection to one endpoint that is opened again for as long as it is wanted.
//!
//! From the top down:
//! - [`supervisor`] opens it again, after the wait of [`backoff`], with its [`opener`].
//! - [`locator`] says where it leads, with [`sentinel`].
//! - [`connect`] opens a socket, with [`addresses`].
//! - [`handshake`] sends the first commands, with [`secrets`] and [`server_info`].
//! - [`transport`] carries bytes; [`shared`] is the pipeline with its signals.
//! - [`socket`] decides which thread reads, and [`stream`] is the operating system's socket.
//!
//! [`time_slice`] limits how long one connection keeps the I/O thread, and [`pace`] how often it is read.

mod addresses;
pub mod backoff;
mod connect;
pub mod failure;
mod handshake;
mod locator;
mod opener;
mod pace;
pub mod query;
mod secrets;
pub mod sentinel;
mod server_info;
pub mod shared;
pub mod socket;
mod stream;
mod supervisor;
mod time_slice;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::error::Result;
use crate::redis::config::{Config, Target};
use crate::redis::connection::shared::{Shared, Sink};
use crate::redis::connection::socket::{ReadAttempt, SharedSocket, SocketSlot};
use crate::redis::connection::supervisor::Supervisor;
use crate::redis::pipeline::{Machine, Pipeline};
use crate::redis::request::Id;
use crate::redis::runtime;

pub struct Connection<M> {
    config: Arc<Config>,
    target: Target,
    runtime: &'static Runtime,
    shared: Arc<Shared<M>>,
    socket: Arc<SocketSlot>,
    started: AtomicBool,
}

impl<M: Machine> Connection<M> {
    /// Opens nothing yet.
    pub fn new(config: Arc<Config>, target: Target, sink: Arc<dyn Sink<M>>) -> Result<Self> {
        let mut pipeline = Pipeline::new(config.settings.limits.clone(), target.to_string());
        if let Target::Node(node) = &target {
            pipeline.node = Some(node.to_string().into());
        }
        Ok(Self {
            config,
            target,
            runtime: runtime::get()?,
            shared: Arc::new(Shared::new(pipeline, sink)),
            socket: Arc::default(),
            started: AtomicBool::new(false),
        })
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Has the connection opened, and opened again when it is lost, from this call on.
    pub fn start(&self) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let supervisor = Supervisor::new(
            self.config.clone(),
            &self.target,
            self.runtime,
            self.shared.clone(),
            self.socket.clone(),
        );
        runtime::spawn(self.runtime, supervisor.run());
    }

    /// Uses the pipeline, and gives the sink what it has completed.
    pub fn with<R>(&self, work: impl FnOnce(&mut Pipeline<M>) -> R) -> R {
        self.shared.with(work)
    }

    /// The socket that JavaScript's thread may read, while there is one.
    pub fn socket(&self) -> Option<Arc<SharedSocket>> {
        self.socket.get()
    }

    /// As [`SharedSocket::try_read`].
    pub fn try_read(&self, socket: &SharedSocket, room: &mut [u8]) -> ReadAttempt {
        socket.try_read(&self.shared, room)
    }

    /// Answers `id` once all that was asked for is answered and the connection is closed.
    pub fn close(&self, id: Id) {
        let started = self.started.load(Ordering::Relaxed);
        self.with(|pipeline| {
            if started {
                pipeline.close(id, Instant::now());
            } else {
                pipeline.completed.done(id);
            }
        });
    }

    /// Drops the connection. Open requests never get an answer.
    pub fn abandon(&self) {
        self.shared.abandon();
    }
}
