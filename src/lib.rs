//! `covara-kv`: a Redis-like key-value store for Node.js.
//!
//! Imports go down only: `addon` → `commands` → `store`, `addon` → `fanout` → `redis`.
//!
//! - [`addon`]: the boundary to Node: JavaScript's values in, replies out. The only place with N-API types, and with `unsafe`.
//! - [`commands`]: the table of commands, and the short function of each; MULTI and Lua scripts run through the same table.
//! - [`store`]: the memory engine: keys with their values, deadlines and channels.
//! - [`fanout`]: events of the fleet, to the streams that are open in this process.
//! - [`redis`]: the Redis backend: commands over a connection that comes back when it is lost.
//! - [`trace`]: the log of connections and the fan-out, on request.
//! - [`reply`], [`error`]: what a command answers. [`backlog`], [`wake`]: what waits for a JavaScript thread, and what wakes it. [`coalesced`]: one request serves all who wait for it.

// A test may be a long table of cases.
#![cfg_attr(test, allow(clippy::too_many_lines))]
// Most of it is used by `addon` alone.
#![cfg_attr(any(test, fuzzing), allow(dead_code))]

// It calls functions of Node.js, which a test or a fuzz target does not have.
#[cfg(not(any(test, fuzzing)))]
mod addon;
mod backlog;
mod coalesced;
mod commands;
mod error;
mod fanout;
mod redis;
mod reply;
mod store;
mod trace;
mod wake;

/// What fuzz targets call. All else is private, so that the compiler sees what nothing uses.
#[cfg(fuzzing)]
pub mod fuzzed {
    pub use crate::commands::{COMMANDS, Database, index_of};
    pub use crate::fanout::message::{aggregate, event};
    pub use crate::redis::protocol::decode;
    pub use crate::redis::protocol::published::published;
    pub use crate::redis::protocol::reply_end::Scanner;
    pub use crate::reply::Reply;
    pub use crate::store::Policy;
    pub use crate::store::glob::matches;
}
