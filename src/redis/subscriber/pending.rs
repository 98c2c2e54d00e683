//! Answers that listeners await: of requests to the server, each of which may be for several listeners.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::error::Error;
use crate::redis::completions::CompletionBatch;
use crate::redis::request::{Id, Topic};
use crate::redis::subscriber::listener::Listener;

#[derive(Default)]
pub struct Pending {
    requests: HashMap<Id, PendingRequest, RandomState>,
    next: Id,
}

pub struct PendingRequest {
    /// The topic that it subscribes, if it does.
    pub topic: Option<Topic>,
    pub waiters: Vec<Waiter>,
}

/// An answer that a listener awaits, also once it has left.
pub struct Waiter {
    pub number: usize,
    pub listener: Arc<dyn Listener>,
    pub id: Id,
}

impl Pending {
    /// The id of a new request.
    pub fn add(&mut self, topic: Option<Topic>, waiter: Waiter) -> Id {
        self.next = self.next.wrapping_add(1);
        let waiters = vec![waiter];
        self.requests.insert(self.next, PendingRequest { topic, waiters });
        self.next
    }

    /// Has one more listener await a request.
    pub fn join(&mut self, request: Id, waiter: Waiter) {
        if let Some(pending) = self.requests.get_mut(&request) {
            pending.waiters.push(waiter);
        }
    }

    pub fn take(&mut self, request: Id) -> Option<PendingRequest> {
        self.requests.remove(&request)
    }

    /// Takes what one listener awaits, each with the topic that it subscribes, if it does.
    pub fn take_of(&mut self, number: usize) -> Vec<(Option<Topic>, Waiter)> {
        let mut taken = Vec::new();
        for PendingRequest { topic, waiters } in self.requests.values_mut() {
            let own = waiters.extract_if(.., |waiter| waiter.number == number);
            taken.extend(own.map(|waiter| (topic.clone(), waiter)));
        }
        taken
    }

    /// Fails what one listener awaits.
    pub fn fail(&mut self, number: usize, error: &Error) {
        for pending in self.requests.values_mut() {
            for waiter in pending.waiters.extract_if(.., |waiter| waiter.number == number) {
                waiter.answer(Err(error.clone()));
            }
        }
    }
}

impl Waiter {
    /// Tells the listener at once, ahead of what is to be delivered.
    pub fn answer(self, outcome: Result<(), Error>) {
        let mut batch = CompletionBatch::default();
        batch.done_or_failed(self.id, outcome);
        self.listener.put(batch);
    }
}
