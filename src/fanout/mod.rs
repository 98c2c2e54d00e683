//! Subscription fan-out: events of the fleet go to the streams that are open in this process, and all others end here, without waking
//! JavaScript. It knows neither Node nor the memory store.
//!
//! - [`registry`]: which thread of this process has which handlers, their subscriptions, and watchers.
//! - [`source`]: what threads hear by way of a Redis server, over one subscription for all of them.
//! - [`message`]: what is on the wire, read no further than needed.
//! - [`streams`]: what the framework's own callbacks hear; [`records`]: whose it is, by the records that this process wrote ([`change`]).
//! - [`outbox`]: what waits for a thread to take it, within bounds.
//! - [`echoes`]: this process's own messages, which come back to it.

pub mod change;
pub mod echoes;
pub mod message;
pub mod outbox;
pub mod records;
pub mod registry;
pub mod source;
pub mod streams;
#[cfg(test)]
mod tests;

/// Where events are published. No prefix is put before it.
pub const EVENTS: &str = "covara:events";
/// Where it is published that a resource has changed.
pub const AGGREGATE: &str = "covara:aggregate";
