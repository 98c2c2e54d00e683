//! The Redis backend: commands over a connection that comes back when it is lost. It knows neither Node nor the memory store.
//!
//! - [`link`]: a connection for as long as it is wanted; what JavaScript's thread and the I/O thread share.
//! - [`pipeline`] (with [`connection`], [`queue`], [`receiving`] and [`deadlines`]): requests from their call to their answer: order, deadlines, what is sent again. Does no I/O.
//! - [`hub`]: the subscribing connection, which all stores of the process share; [`subscriptions`]: what it is to hear, and the gap after a loss.
//! - [`supervisor`]: connects, loses, connects again.
//! - [`dial`] (with [`greeting`], [`secrets`], [`addresses`], [`credentials`], [`tls`], [`trust`] and [`handshake`]): opens a socket and greets the server. [`transport`] (with [`plain`]): carries the bytes of one connection; [`share`]: for how long before the others have
//!   their turn.
//! - [`resp`], [`outgoing`], [`request`], [`mailbox`]: the protocol; what is to be sent; a command on its way; what came back.
//! - [`config`]: where the server is.

mod addresses;
pub mod config;
pub mod connection;
pub mod credentials;
mod deadlines;
mod dial;
mod greeting;
mod handshake;
pub mod hub;
pub mod link;
pub mod mailbox;
mod outgoing;
pub mod pipeline;
pub mod plain;
mod queue;
mod receiving;
pub mod request;
pub mod resp;
mod secrets;
mod share;
mod subscriptions;
mod supervisor;
#[cfg(test)]
mod tests;
pub mod tls;
mod transport;
pub mod trust;

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
