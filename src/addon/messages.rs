//! Converts messages to JavaScript values.

use std::collections::VecDeque;

use bytes::Bytes;

use super::raw::ScopedValue;
use super::reply::Replies;
use crate::addon::since_epoch;
use crate::backlog::{Message, Rest};
use crate::error::Result;

/// An array: first null if more wait, 0, or the time since which messages were dropped, in ms since the epoch. Then pattern or null, channel
/// and message of each. Messages in a row mostly have one channel, whose string is made once.
pub fn messages<'scope>(
    replies: &Replies<'scope, '_>,
    messages: &VecDeque<Message>,
    rest: Rest,
) -> Result<ScopedValue<'scope>> {
    let scope = replies.scope;
    let null = scope.null()?;
    let mut last: Option<(&Bytes, ScopedValue)> = None;
    let triples = messages.iter().flat_map(|message| {
        let pattern = match &message.pattern {
            None => Ok(null),
            Some(pattern) => scope.string(pattern),
        };
        let channel = match last {
            Some((other, value)) if *other == message.channel => Ok(value),
            _ => scope.string(&message.channel),
        };
        if let Ok(value) = channel {
            last = Some((&message.channel, value));
        }
        [pattern, channel, scope.string(&message.payload)]
    });
    let rest = match rest {
        Rest::Messages => Ok(null),
        Rest::Nothing => scope.double(0.0),
        Rest::Overflow(since) => scope.double(since_epoch(since)),
    };
    replies.array([rest].into_iter().chain(triples))
}
