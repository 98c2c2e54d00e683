//! What JavaScript's thread and the I/O thread share of a connection: its pipeline, and the signals between the threads.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::Result;
use crate::redis::completions::{CompletionBatch, CompletionQueue};
use crate::redis::pipeline::commands::redirect::Returned;
use crate::redis::pipeline::{Machine, Pipeline};
use crate::trace::{Area, trace};

/// Gets what a pipeline has completed.
pub trait Sink<M>: Send + Sync {
    /// Called while the pipeline is locked: the sink may change the pipeline, but must not wait for another lock of it.
    fn put(&self, batch: CompletionBatch, pipeline: &mut Pipeline<M>);

    /// Takes requests that a node of a cluster has not run, and then the marks that have passed. Called while the pipeline is locked.
    fn return_requests(&self, _returned: Vec<Returned>, _passed: Vec<u64>) {}

    /// JavaScript's thread may poll the socket again.
    fn poll_socket(&self) {}
}

impl<M> Sink<M> for CompletionQueue {
    fn put(&self, batch: CompletionBatch, _: &mut Pipeline<M>) {
        self.put(batch);
    }

    fn poll_socket(&self) {
        self.wake();
    }
}

pub struct Shared<M> {
    /// Names the connection in traces.
    name: String,
    pipeline: Mutex<Pipeline<M>>,
    pub sink: Arc<dyn Sink<M>>,
    /// There are bytes that the transport must write.
    pub unsent: Notify,
    /// Topics wait for the next batch of subscriptions.
    pub batches: Notify,
    /// The server has refused a write: the supervisor looks for a master.
    pub refused: Notify,
    /// The machine has found a fault of the connection, or a deadline is sooner than planned: the supervisor calls `tick`.
    pub must_tick: Notify,
    /// The connection is closing, or was abandoned: the supervisor checks which.
    pub ending: Notify,
    abandoned: AtomicBool,
}

impl<M: Machine> Shared<M> {
    pub fn new(pipeline: Pipeline<M>, sink: Arc<dyn Sink<M>>) -> Self {
        Self {
            name: pipeline.name(),
            pipeline: Mutex::new(pipeline),
            sink,
            unsent: Notify::new(),
            batches: Notify::new(),
            refused: Notify::new(),
            must_tick: Notify::new(),
            ending: Notify::new(),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Uses the pipeline, and gives the sink what it has completed: in one order for all threads.
    pub fn with<R>(&self, work: impl FnOnce(&mut Pipeline<M>) -> R) -> R {
        let mut pipeline = self.pipeline.lock();
        let result = work(&mut pipeline);
        self.tell(&mut pipeline);
        result
    }

    /// Gives the sink what the pipeline has completed, and wakes the tasks that have something to do. A function of its own: `with` is
    /// compiled for each of its callers.
    fn tell(&self, pipeline: &mut Pipeline<M>) {
        while pipeline.has_output() {
            let batch = std::mem::take(&mut pipeline.completed);
            self.sink.put(batch, pipeline);
        }
        if let Some((returned, passed)) = pipeline.machine.take_returned() {
            self.sink.return_requests(returned, passed);
        }
        if pipeline.has_unsent() {
            self.unsent.notify_one();
        }
        if pipeline.has_batches() {
            self.batches.notify_one();
        }
        if pipeline.misses_master() {
            self.refused.notify_one();
        }
        if pipeline.fault().is_some() || pipeline.must_tick_sooner() {
            self.must_tick.notify_one();
        }
        if pipeline.is_done() {
            self.ending.notify_one();
        }
    }

    /// Takes complete replies off the front of the buffer, and gives how many messages were unwanted. An error ends the connection.
    pub fn received(&self, buffer: &mut BytesMut, now: Instant) -> Result<usize> {
        self.with(|pipeline| pipeline.received(buffer, now))
    }

    /// Prints a line of the trace.
    pub fn trace<T: Display>(&self, text: impl FnOnce() -> T) {
        trace(Area::Redis, || format!("{}: {}", self.name, text()));
    }

    /// Has the supervisor drop the connection. Open requests never get an answer.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.ending.notify_one();
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}
