//! What a JavaScript thread takes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::backlog::Measured;
use crate::error::Error;
use crate::redis::completions::Gap;

/// A thread's own name for one of its handlers or watchers.
pub type Token = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidationReason {
    Gap,
    Overflow,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Event {
        handler: Token,
        subscription: Arc<str>,
        /// JSON. A copy: a slice would keep the whole receive buffer alive.
        event: Box<str>,
    },
    /// Events of the subscription may have been missed.
    Invalidate {
        handler: Token,
        subscription: Arc<str>,
        reason: InvalidationReason,
    },
    /// The watcher's resource has changed.
    Changed { watcher: Token },
}

/// Told beside the items, and before them.
#[derive(Debug)]
pub enum Notice {
    /// Another thread has unregistered the handler, or has registered it itself.
    Gone(Token),
    /// The answer to the question of this id.
    Answer(u32, Option<Error>),
    /// A channel could not be subscribed; `first` unless the attempt before failed too.
    Failed {
        error: Error,
        first: bool,
    },
    /// The subscribing connection is lost.
    Reconnecting {
        attempt: u32,
        delay: Duration,
        cause: Error,
    },
    Gap(Gap),
    /// Events were dropped for want of room. They came after this moment, when nothing waited.
    Overflow(SystemTime),
}

impl Measured for Item {
    fn size(&self) -> usize {
        let text = match self {
            Item::Event {
                subscription, event, ..
            } => subscription.len() + event.len(),
            Item::Invalidate { subscription, .. } => subscription.len(),
            Item::Changed { .. } => 0,
        };
        size_of::<Item>() + text
    }
}
