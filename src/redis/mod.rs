//! The Redis backend: commands over a connection that comes back when it is lost. It knows neither Node nor the memory store.
//!
//! From the top down; each knows those below it only.
//!
//! - [`client`]: what a store holds. [`router`]: one server or a cluster. [`cluster`]: which node takes a request.
//! - [`subscriber`]: the subscribing connection, which all stores of the process share.
//! - [`connection`]: opens a connection, carries its bytes, and opens the next one when it is lost.
//! - [`pipeline`]: requests from their call to their answer: order, deadlines, what is sent again. Reads no socket.
//! - [`completions`]: what came back, until JavaScript's thread takes it. [`request`]: a command on its way.
//! - [`config`], [`credentials`], [`tls`]: how to reach the server, who we are to it, and whom to trust. [`provided`]: what the application's functions say of that.
//! - [`endpoint`]: where a connection leads. [`slot`]: which part of a cluster's keys a key is in. [`runtime`]: the I/O thread. [`moment`]: a short `Instant`. [`error`]: the errors of more than one floor.
//! - [`protocol`] is RESP.

pub mod client;
pub mod cluster;
pub mod completions;
pub mod config;
pub mod connection;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod moment;
pub mod pipeline;
pub mod protocol;
pub mod provided;
pub mod request;
pub mod router;
pub mod runtime;
pub mod slot;
pub mod subscriber;
#[cfg(test)]
pub mod tests;
pub mod tls;
