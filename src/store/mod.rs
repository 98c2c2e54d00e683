//! The memory engine. It knows neither Node nor Redis's syntax.

pub mod channels;
mod clock;
mod contents;
mod expiry;
pub mod glob;
mod hash;
mod index;
mod key;
mod keyspace;
mod list;
mod pack;
pub mod remains;
mod set;
mod slab;
mod sorted_set;
mod text;
mod value;

pub use channels::Channels;
pub use hash::Hash;
pub use keyspace::{Keyspace, Policy};
pub use list::List;
pub use set::Set;
pub use sorted_set::{Bound, SortedSet};
pub use text::Text;
pub use value::Value;
