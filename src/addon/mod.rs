//! The boundary to Node.

mod arguments;
mod fanout;
mod memory;
mod messages;
mod raw;
mod redis;
mod reply;
mod stores;
mod waker;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(not(feature = "sanitize"))]
use mimalloc::MiMalloc;
use napi_derive::napi;

use crate::commands;
use crate::error::Error;
use crate::redis::tls::trust;

/// A million small keys take a third less memory than with glibc's, and it goes back to the system when they do.
#[cfg(not(feature = "sanitize"))]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long expiry may hold up the event loop at a time; while more is due, about every millisecond.
const SWEEP: Duration = Duration::from_micros(250);

/// The number of a command's row.
#[napi]
pub fn command_index(name: String) -> napi::Result<u32> {
    let index = commands::index_of(name.as_bytes());
    index
        .map(|index| index as u32)
        .ok_or_else(|| napi::Error::from_reason(format!("there is no command {name}")))
}

/// Removes keys that are due, from all memory stores of the process, and frees what was removed, for a quarter of a millisecond at most.
/// True if there is more to do.
#[napi]
pub fn sweep_expired() -> bool {
    stores::sweep(SWEEP)
}

/// Has the authorities count that Node.js trusts: its own (PEM), and those of the file that NODE_EXTRA_CA_CERTS names. Only the first call does.
#[napi]
pub fn trust_as_node(own: String, extra: Option<String>) {
    trust::trust_as_node(own, extra);
}

/// Reads memory that was freed: `npm run check:sanitize` proves with it that such an error is found.
#[cfg(feature = "sanitize")]
#[napi]
pub fn read_after_free() -> u8 {
    raw::seeded::read_after_free()
}

fn to_napi(error: Error) -> napi::Error<String> {
    napi::Error::new(error.tag().into_owned(), &*error.message)
}

fn from_status(error: napi::Error) -> napi::Error<String> {
    napi::Error::new("ERR".to_owned(), error.reason.to_string())
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_millis() as f64)
}
