//! What waits for a JavaScript thread.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::redis::completions::Gap;

/// Names a handler or a watcher of a thread to that thread.
pub type Token = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Gap,
    Overflow,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Event {
        handler: Token,
        subscription: Arc<str>,
        /// JSON. A copy: the bytes that it came in are many times as many.
        event: Box<str>,
    },
    /// Events of the subscription may have been missed.
    Invalidate {
        handler: Token,
        subscription: Arc<str>,
        reason: Reason,
    },
    /// The resource that the watcher watches has changed.
    Changed { watcher: Token },
}

/// What a thread is to know beside its items.
#[derive(Debug)]
pub enum Notice {
    /// Another thread has unregistered a handler, or has it now.
    Gone(Token),
    /// What was asked with this id.
    Answer(u32, Option<Error>),
    /// A channel could not be subscribed; `first` unless it could not before either.
    Failed {
        error: Error,
        first: bool,
    },
    /// The connection that channels are heard by is away.
    Reconnecting {
        attempt: u32,
        delay: Duration,
        cause: Error,
    },
    Gap(Gap),
    Overflow,
}

impl Item {
    /// What it takes in memory.
    pub fn size(&self) -> usize {
        size_of::<Item>() + self.text_length()
    }

    fn text_length(&self) -> usize {
        match self {
            Item::Event {
                subscription, event, ..
            } => subscription.len() + event.len(),
            Item::Invalidate { subscription, .. } => subscription.len(),
            Item::Changed { .. } => 0,
        }
    }
}
