//! Subscription fan-out: gives events of the fleet to the streams that are open in this process. It drops all other events without waking
//! JavaScript. It knows neither Node nor the memory store.
//!
//! - [`registry`]: which thread of this process has which handlers, subscriptions and watchers.
//! - [`source`]: messages from a Redis server, over one subscription for all threads.
//! - [`message`]: the messages, read no further than needed.
//! - [`streams`]: messages for the framework's own callbacks.
//! - [`records`]: which subscriptions may have streams here, by the records that this process has written ([`change`]).
//! - [`ways`]: keeps the order of a subscription's events, which come by its own channel and by the fleet's.
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
