//! Converts messages to JavaScript values.

use std::collections::VecDeque;

use bytes::Bytes;

use super::raw::Value;
use super::reply::Replies;
use crate::backlog::Message;
use crate::error::Result;

/// The `Messages` of types.d.ts: the number of dropped messages, or null if more wait; then pattern or null, channel and message
/// of each. Adjacent messages mostly have one channel, whose string is made once.
pub fn messages<'scope>(
    replies: &Replies<'scope, '_>,
    messages: &VecDeque<Message>,
    dropped: Option<usize>,
) -> Result<Value<'scope>> {
    let scope = replies.scope;
    let null = scope.null()?;
    let mut last: Option<(&Bytes, Value)> = None;
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
    let dropped = dropped.map_or(Ok(null), |dropped| scope.double(dropped as f64));
    replies.array([dropped].into_iter().chain(triples))
}
