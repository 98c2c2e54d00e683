//! Converts items of the fan-out to JavaScript values.

use crate::addon::raw::{Scope, ScopedValue};
use crate::error::Result;
use crate::fanout::item::{InvalidationReason, Item};

const GAP: &[u8] = br#"{"type":"invalidate","reason":"fanout-gap"}"#;
const OVERFLOW: &[u8] = br#"{"type":"invalidate","reason":"overflow"}"#;

/// Token of the handler, subscription and event; for a change the token of the watcher and two nulls.
pub fn triple<'scope>(scope: Scope<'scope>, item: &Item) -> [Result<ScopedValue<'scope>>; 3] {
    let of = |handler: u32, subscription: &str, event: &[u8]| {
        [
            scope.double(f64::from(handler)),
            scope.string(subscription.as_bytes()),
            scope.string(event),
        ]
    };
    match item {
        Item::Event {
            handler,
            subscription,
            event,
        } => of(*handler, subscription, event.as_bytes()),
        Item::Invalidate {
            handler,
            subscription,
            reason,
        } => {
            let event = match reason {
                InvalidationReason::Gap => GAP,
                InvalidationReason::Overflow => OVERFLOW,
            };
            of(*handler, subscription, event)
        }
        Item::Changed { watcher } => [scope.double(f64::from(*watcher)), scope.null(), scope.null()],
    }
}
