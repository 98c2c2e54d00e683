//! One topic: its state on the server, and who listens to it.

use std::sync::Arc;

use crate::redis::request::{Asker, Id};
use crate::redis::subscriber::listener::{Kept, TopicState};

/// The state of a topic on the server. All topics of the table are desired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// A listener's first request is in flight, or waits. A message before its confirmation belongs to a subscription that has ended.
    #[default]
    New,
    /// Not confirmed on this connection: it was live on the last one, or is kept. The table's request of this number is in flight; 0 for none.
    Due(u32),
    Live,
}

/// When a topic is subscribed on a new connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    #[default]
    First,
    /// In batches: there may be thousands of topics, and many instances that have lost the same server.
    Batched,
}

#[derive(Default)]
pub struct TopicEntry {
    pub status: Status,
    pub priority: Priority,
    /// The listeners' request that is to subscribe it.
    pub request: Option<Id>,
    pub registrations: Vec<Registration>,
}

pub struct Registration {
    pub listener: usize,
    /// Present if it stays subscribed, whatever a request's outcome.
    pub kept: Option<Arc<TopicState>>,
    /// Messages have come, and so may be missed.
    pub hears: bool,
    /// Messages may have been missed, which the listener has not been told.
    pub misses: bool,
}

impl TopicEntry {
    pub fn has(&self, number: usize) -> bool {
        self.registrations.iter().any(|each| each.listener == number)
    }

    pub fn register(&mut self, number: usize) -> &mut Registration {
        let index = self.registrations.iter().position(|each| each.listener == number);
        let index = index.unwrap_or_else(|| {
            self.registrations.push(Registration {
                listener: number,
                kept: None,
                hears: false,
                misses: false,
            });
            self.registrations.len() - 1
        });
        &mut self.registrations[index]
    }

    /// Whether this request, and no later one, is to make it live.
    pub fn is_asked_by(&self, asker: Asker) -> bool {
        match (self.status, asker) {
            (Status::New, Asker::Listeners(id)) => self.request == Some(id),
            (Status::Due(number), Asker::Table(other)) => number == other,
            _ => false,
        }
    }
}

impl Registration {
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    pub fn may_miss(&self) -> bool {
        self.is_kept() || self.hears
    }

    pub fn set(&self, state: Kept) {
        if let Some(kept) = &self.kept {
            kept.set(state);
        }
    }
}
