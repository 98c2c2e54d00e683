//! Listeners and their message batches.

use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;

use crate::error::Error;
use crate::redis::completions::{CompletionBatch, CompletionQueue};
use crate::redis::protocol::published::Skipped;
use crate::redis::request::{Departure, Topic};

/// The state of a topic that a listener keeps subscribed.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Kept {
    #[default]
    Requested,
    /// Requested, but there is no connection: messages are missed.
    Interrupted,
    Live,
    /// Given up.
    Refused(Error),
}

/// Changed by the table of topics, under the pipeline's lock. Read without that lock, as a reader may hold others.
#[derive(Debug, Default)]
pub struct TopicState(Mutex<Kept>);

impl TopicState {
    pub fn get(&self) -> Kept {
        self.0.lock().clone()
    }

    pub fn is(&self, state: &Kept) -> bool {
        *self.0.lock() == *state
    }

    pub fn set(&self, state: Kept) {
        *self.0.lock() = state;
    }
}

/// Is told what came for its topics, while the pipeline is locked.
pub trait Listener: Send + Sync {
    fn put(&self, batch: CompletionBatch);

    /// Messages of a channel at the front of what was received that it does not want. Asked only where no other listens.
    fn skip(&self, _channel: &[u8], _received: &[u8]) -> Skipped {
        Skipped::default()
    }

    /// Messages of a kept topic come from this call on; those of the next batch are the first.
    fn subscribed(&self, _topic: &Topic) {}

    /// Topics are left: messages may be missed since a moment. `is_refused` if the server does not publish to the channel by which they cross.
    fn departed(
        &self,
        _departure: &Departure,
        _topics: &HashSet<Topic>,
        _since: SystemTime,
        _is_refused: bool,
    ) {
    }

    /// The server is not the home of a topic.
    fn displaced(&self) {}

    /// Messages may be missed from this call on, until a gap is told.
    fn gap_began(&self) {}
}

impl Listener for CompletionQueue {
    fn put(&self, mut batch: CompletionBatch) {
        batch.backlog.detach();
        self.put(batch);
    }
}

/// A batch for each listener.
#[derive(Default)]
pub struct Deliveries(HashMap<usize, (Arc<dyn Listener>, CompletionBatch), RandomState>);

impl Deliveries {
    pub fn to(&mut self, number: usize, listener: &Arc<dyn Listener>) -> &mut CompletionBatch {
        let (_, batch) = self
            .0
            .entry(number)
            .or_insert_with(|| (listener.clone(), CompletionBatch::default()));
        batch
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order in which the listeners joined: all handles of a store are told of a gap behind its messages.
    pub fn deliver(&mut self) {
        let mut deliveries: Vec<_> = self.0.drain().collect();
        deliveries.sort_unstable_by_key(|(number, _)| *number);
        for (_, (listener, batch)) in deliveries {
            listener.put(batch);
        }
    }
}
