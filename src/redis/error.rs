//! The errors that more than one floor makes.

use std::io;

use crate::error::{Error, Reason};

/// The server has closed the connection.
pub fn closed() -> Error {
    Error::because(Reason::Ended, "the server closed it")
}

/// Reading or writing has failed.
pub fn lost(error: &io::Error) -> Error {
    Error::because(Reason::Ended, error.to_string())
}

/// The configuration names no server that could be connected to.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::because(Reason::Address, message.into())
}

/// A defect of this package.
pub fn defect() -> Error {
    Error::because(
        Reason::Internal,
        "internal error in covara-kv: please report it with the output above",
    )
}
