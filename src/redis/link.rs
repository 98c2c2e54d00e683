//! A connection to the server that is opened again for as long as it is wanted: what JavaScript's thread and the I/O thread share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::config::Config;
use super::mailbox::{Mail, Mailbox};
use super::pipeline::{Pipeline, Role};
use super::request::Id;
use super::{runtime, supervisor};
use crate::error::Result;

/// Who gets what has come of a pipeline.
pub trait Outlet: Send + Sync {
    /// Called while the pipeline is locked: it may be asked for more, but must not be waited for.
    fn put(&self, mail: Mail, pipeline: &mut Pipeline);
}

impl Outlet for Mailbox {
    fn put(&self, mail: Mail, _: &mut Pipeline) {
        self.put(mail);
    }
}

pub struct Link {
    pub config: Arc<Config>,
    runtime: &'static Runtime,
    pipeline: Mutex<Pipeline>,
    outlet: Arc<dyn Outlet>,
    /// There are bytes that the transport must write.
    pub unsent: Notify,
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
            runtime: runtime()?,
            pipeline: Mutex::new(pipeline),
            outlet,
            unsent: Notify::new(),
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
        if pipeline.is_done() {
            self.ending.notify_one();
        }
        result
    }

    /// Answers `id` once all that was asked for is answered and the connection is closed.
    pub fn close(&self, id: Id) {
        let started = self.started.load(Ordering::Relaxed);
        self.with(|pipeline| {
            if started {
                pipeline.close(id);
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
