//! The Redis backend: commands over a connection that comes back when it is lost. It knows neither Node nor the memory store.
//!
//! From the top down; each knows those below it only.
//!
//! - [`hub`]: the subscribing connection, which all stores of the process share; [`subscriptions`]: what it is to hear, and the gap after a loss.
//! - [`connection`]: opens a connection, carries its bytes, and opens the next one when it is lost.
//! - [`pipeline`]: requests from their call to their answer: order, deadlines, what is sent again. Does no I/O.
//! - [`completions`]: what came back, until JavaScript's thread takes it. [`request`]: a command on its way.
//! - [`config`], [`credentials`], [`tls`]: how to reach the server, who we are to it, and whom to trust.
//! - [`protocol`]: RESP.

pub mod completions;
pub mod config;
pub mod connection;
pub mod credentials;
pub mod hub;
pub mod pipeline;
pub mod protocol;
pub mod request;
mod subscriptions;
#[cfg(test)]
mod tests;
pub mod tls;

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Reason, Result};

/// One for the process, with one thread: a second made nothing faster.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("covara-kv").enable_all();
    builder.build()
});

fn runtime() -> Result<&'static Runtime> {
    let unable = |error| {
        Error::because(
            Reason::Internal,
            format!("no thread could be started for it: {error}"),
        )
    };
    RUNTIME.as_ref().map_err(unable)
}
