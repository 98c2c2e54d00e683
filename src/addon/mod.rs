//! The boundary to Node.js.

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

/// With glibc's allocator a million small keys take half as much memory again, and freed memory stays with the process.
#[cfg(not(feature = "sanitize"))]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long one sweep may block the event loop. While more keys are due, a sweep runs about every millisecond.
const SWEEP: Duration = Duration::from_micros(250);

/// The number of a command in the native table. Throws for an unknown name.
#[napi]
pub fn command_index(name: String) -> napi::Result<u32> {
    let index = commands::index_of(name.as_bytes());
    index
        .map(|index| index as u32)
        .ok_or_else(|| napi::Error::from_reason(format!("there is no command {name}")))
}

/// Removes expired keys of all memory stores, and frees removed values, for at most 0.25 ms. True if more is due.
#[napi]
pub fn sweep_expired() -> bool {
    stores::sweep(SWEEP)
}

/// Trusts the certificate authorities of Node.js: its own, in PEM, and the file of NODE_EXTRA_CA_CERTS. Only the first call counts.
#[napi]
pub fn trust_as_node(own: String, extra: Option<String>) {
    trust::trust_as_node(own, extra);
}

/// Reads freed memory: by it `npm run check:sanitize` proves that the sanitizer finds such an error.
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
