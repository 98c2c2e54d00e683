//! A connection that is opened again for as long as it is wanted.

mod addresses;
mod connect;
mod fairness;
mod handshake;
mod secrets;
pub mod shared;
pub mod socket;
mod supervisor;
mod transport;
