//! A cluster: one connection to each master, and each request to the master that has its slot.
//!
//! [`router`]: which node takes a request. [`member`]: it takes maps. [`node_events`]: what nodes refuse. [`fence`]: requests of a slot in trouble wait behind it, in their order. [`node`]: one master. [`lifecycle`]: a store joins and leaves.
//! [`messages`]: their order, with [`publishing`].
//! [`reads`]: which go to [`readers`], replicas. [`batches`]: one write for each node.
//! [`topology`]: the map of the slots, which the process shares and [`refresh`] keeps. [`absence`]: whether masters that are away still have their slots. [`slot_map`] reads it. [`confirmed`]: when masters were known to be that. [`join`]: replies in parts, with [`transaction`] and [`frames`]. [`scan`]: SCAN, with its [`cursor`]. [`importers`]: masters that [`keys`] and it ask after all others, by the [`view`] of each. [`survey`]: what a node says of itself.

mod absence;
mod batches;
mod confirmed;
mod cursor;
mod fence;
mod frames;
mod health;
mod importers;
mod join;
mod keys;
pub mod lifecycle;
mod member;
mod messages;
mod node;
pub mod node_events;
pub mod publishing;
mod readers;
mod reads;
pub mod refresh;
pub mod router;
mod scan;
pub mod slot_map;
mod slots;
mod spread;
pub mod survey;
pub mod topology;
mod transaction;
mod view;
