//! A connection to the server that is opened again for as long as it is wanted: what JavaScript's thread and the I/O thread share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::config::Config;
use super::dial::Manners;
use super::mailbox::{Mail, Mailbox};
use super::pipeline::{Pipeline, Role};
use super::plain::{Look, Plain};
use super::request::Id;
use super::resp::Skipped;
use super::{runtime, supervisor};
use crate::error::Result;

/// Who gets what has come of a pipeline.
pub trait Outlet: Send + Sync {
    /// Called while the pipeline is locked: it may be asked for more, but must not be waited for.
    fn put(&self, mail: Mail, pipeline: &mut Pipeline);

    /// Messages at the front of what was received that nobody has a use for. Called while the pipeline is locked.
    fn skip(&self, _received: &[u8]) -> Skipped {
        Skipped::default()
    }

    /// It may be of use to look after the socket again.
    fn look(&self) {}
}

impl Outlet for Mailbox {
    fn put(&self, mail: Mail, _: &mut Pipeline) {
        self.put(mail);
    }

    fn look(&self) {
        self.wake();
    }
}

/// Keeps a socket offered.
pub struct Offer<'a>(&'a Link);

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.0.plain.lock().take();
    }
}

pub struct Link {
    pub config: Arc<Config>,
    pub manners: Manners,
    runtime: &'static Runtime,
    pipeline: Mutex<Pipeline>,
    /// What is offered.
    plain: Mutex<Option<Arc<Plain>>>,
    outlet: Arc<dyn Outlet>,
    /// There are bytes that the transport must write.
    pub unsent: Notify,
    /// Topics wait for their turn to be subscribed.
    pub turns: Notify,
    /// The server has refused to write: a master is to be found.
    pub refused: Notify,
    /// It is closing, or was abandoned: the supervisor looks what there is to do.
    pub ending: Notify,
    abandoned: AtomicBool,
    started: AtomicBool,
}

impl Link {
    pub fn new(role: Role, config: Arc<Config>, outlet: Arc<dyn Outlet>) -> Result<Arc<Self>> {
        let pipeline = Pipeline::new(role, config.limits.clone(), config.place());
        Ok(Arc::new(Self {
            config,
            manners: Manners::default(),
            runtime: runtime()?,
            pipeline: Mutex::new(pipeline),
            plain: Mutex::default(),
            outlet,
            unsent: Notify::new(),
            turns: Notify::new(),
            refused: Notify::new(),
            ending: Notify::new(),
            abandoned: AtomicBool::new(false),
            started: AtomicBool::new(false),
        }))
    }

    /// Has the connection opened, and opened again, from now on.
    pub fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.runtime.spawn(supervisor::supervise(self.clone()));
        }
    }

    /// Uses the pipeline, and passes on what has come of it, in this order for all threads.
    pub fn with<R>(&self, work: impl FnOnce(&mut Pipeline) -> R) -> R {
        let mut pipeline = self.pipeline.lock();
        let result = work(&mut pipeline);
        while !pipeline.mail.is_empty() {
            let mail = std::mem::take(&mut pipeline.mail);
            self.outlet.put(mail, &mut pipeline);
        }
        if pipeline.has_unsent() {
            self.unsent.notify_one();
        }
        if pipeline.has_turns() {
            self.turns.notify_one();
        }
        if pipeline.misses_master() {
            self.refused.notify_one();
        }
        if pipeline.is_done() {
            self.ending.notify_one();
        }
        result
    }

    /// Takes complete replies off the front of what came in, and gives how many messages nobody wanted. An error ends the connection.
    pub fn received(&self, buffer: &mut BytesMut, now: Instant) -> Result<usize> {
        self.with(|pipeline| pipeline.received(buffer, now, |received| self.outlet.skip(received)))
    }

    /// There is a new connection, which has this socket, for as long as what this gives is kept.
    pub fn offer(&self, plain: &Arc<Plain>) -> Offer<'_> {
        *self.plain.lock() = Some(plain.clone());
        self.look();
        Offer(self)
    }

    /// The socket that somebody else than the I/O thread may look after.
    pub fn plain(&self) -> Option<Arc<Plain>> {
        self.plain.lock().clone()
    }

    pub fn look(&self) {
        self.outlet.look();
    }

    /// Takes what has come in and was not read, as whoever looks after the socket may be busy for long. False if there may be more.
    pub fn catch_up(&self) -> bool {
        const AT_ONCE: usize = 256 << 10;
        match self.plain() {
            Some(plain) if plain.may_look() => plain.look(self, &mut vec![0; AT_ONCE]) != Look::Much,
            _ => true,
        }
    }

    /// Answers `id` once all that was asked for is answered and the connection is closed.
    pub fn close(&self, id: Id) {
        let started = self.started.load(Ordering::Relaxed);
        self.with(|pipeline| {
            if started {
                pipeline.close(id, Instant::now());
            } else {
                pipeline.mail.done(id);
            }
        });
    }

    /// Drops the connection: nobody is left who could be answered.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.ending.notify_one();
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}
