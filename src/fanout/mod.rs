//! Subscription fan-out: events of the fleet go to the streams that are open in this process, and all others end here, without waking
//! JavaScript. It knows neither Node nor the memory store.
//!
//! - [`registry`]: which thread of this process has which handlers, their subscriptions, and watchers.
//! - [`source`]: what threads hear by way of a Redis server, over one subscription for all of them.
//! - [`message`]: what is on the wire, read no further than needed.
//! - [`streams`]: what the framework's own callbacks hear; [`records`]: whose it is, by the records that this process wrote ([`change`]).
//! - [`thread`]: a thread, and what waits for it to take ([`item`]). [`channel`]: the channels.
//! - [`echoes`]: this process's own messages, which come back to it.

pub mod change;
pub mod channel;
pub mod echoes;
pub mod item;
pub mod message;
pub mod records;
pub mod registry;
pub mod source;
pub mod streams;
#[cfg(test)]
mod tests;
pub mod thread;
