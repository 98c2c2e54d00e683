//! Why an attempt to connect has failed.

use std::io;

use crate::error::{Error, Reason};
use crate::redis::endpoint::Endpoint;
use crate::redis::tls::errors;

pub struct Failure {
    pub error: Error,
    /// Another attempt would fail in the same way: a password is wrong, or the server is not Redis.
    pub refused: bool,
    /// The server has closed the connection, maybe for a command of the handshake.
    pub closed: bool,
}

impl Failure {
    /// The next attempt may succeed.
    pub fn passing(error: Error) -> Self {
        Self {
            error,
            refused: false,
            closed: false,
        }
    }

    /// As `passing`.
    pub fn temporary(reason: Reason, message: String) -> Self {
        Self::passing(Error::because(reason, message))
    }

    pub fn refused(error: Error) -> Self {
        Self {
            error,
            refused: true,
            closed: false,
        }
    }

    /// Reading or writing has failed before the handshake was complete.
    pub fn broken(endpoint: &Endpoint, error: &io::Error, in_tls: bool) -> Self {
        if let Some((reason, words)) = errors::words(error) {
            return Self::refused(Error::because(reason, format!("TLS with {endpoint}: {words}")));
        }
        let reason = if in_tls { Reason::Tls } else { Reason::ClosedAtOnce };
        Self {
            closed: is_closed(error),
            ..Self::temporary(reason, format!("{endpoint}: {error}"))
        }
    }
}

pub fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}
