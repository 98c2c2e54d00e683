//! Subscription fan-out: events of the fleet go to the streams that are open in this process. All others are dropped here, without waking
//! JavaScript. It knows neither Node nor the memory store.
//!
//! - [`registry`]: which thread of this process has which handlers, subscriptions and watchers.
//! - [`source`]: messages from a Redis server, over one subscription for all threads.
//! - [`message`]: the messages, read no further than needed.
//! - [`streams`]: messages for the framework's own callbacks. [`records`]: which of them have streams here, by the records that this process wrote
//!   ([`change`]), in one order with what comes by another channel ([`ways`]).
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
pub mod ways;
