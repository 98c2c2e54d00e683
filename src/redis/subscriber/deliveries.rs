//! What each listener is to get.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::redis::completions::CompletionBatch;
use crate::redis::subscriber::listener::Listener;

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
