//! A cluster: one connection to each master, and each request to the master that has its slot.
//!
//! [`router`]: which node takes a request. [`member`]: it takes maps. [`notices`]: what nodes refuse. [`fence`]: requests of a slot in trouble wait behind it, in their order. [`node`]: one master.
//! [`topology`]: the map of the slots, which the process shares and [`refresh`] keeps. [`slot_map`] reads it. [`join`]: replies in parts. [`scan`]: SCAN. [`survey`]: what a node says of itself.

mod fence;
mod join;
mod member;
mod node;
pub mod notices;
pub mod refresh;
pub mod router;
mod scan;
pub mod slot_map;
pub mod survey;
pub mod topology;
