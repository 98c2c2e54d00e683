//! The memory engine. It knows neither Node nor Redis's syntax.

mod channels;
mod expiry;
pub mod glob;
mod index;
mod key;
mod keyspace;
mod slab;
mod sorted_set;
mod value;

pub use channels::{Channels, Inbox, Message};
pub use keyspace::{Keyspace, Policy};
pub use sorted_set::{Bound, SortedSet};
pub use value::{Bytes, Hash, Kind, List, Set, Value};
