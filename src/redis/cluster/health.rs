//! How the connections of a store to a cluster do.

use crate::redis::cluster::router::{ClusterRouter, RouterState};
use crate::redis::pipeline::Health;
use crate::redis::request::Role;

impl ClusterRouter {
    /// One entry for each connection. A request that waits behind a fence counts as waiting at its slot's master. Those that no node takes
    /// have an entry without a node.
    pub fn health(&self) -> Vec<Health> {
        let state = self.lock();
        let others = state
            .all_nodes()
            .filter(|node| !state.masters.iter().any(|master| master.number == node.number));
        let nodes = state.masters.iter().chain(others);
        let mut health: Vec<_> = nodes
            .map(|node| node.connection.with(|pipeline| pipeline.health()))
            .collect();
        let mut unserved = state.waiting.len() + state.connecting.len();
        for (owner, waiting) in state.held() {
            match owner {
                Some(index) => health[index].waiting += waiting,
                None => unserved += waiting,
            }
        }
        if health.is_empty() || unserved > 0 {
            health.push(state.without_node(unserved));
        }
        health
    }
}

impl RouterState {
    /// How many requests are held for the slots of each master, by its index. None: no master has them.
    fn held(&self) -> impl Iterator<Item = (Option<usize>, usize)> {
        let reads = self
            .readers
            .held
            .iter()
            .filter_map(|read| Some((read.slot()?, 1)));
        let fences = self
            .fences
            .held_by_slot()
            .chain(self.publishing.fences.held_by_slot());
        let owner = |slot| self.map.as_ref().and_then(|map| map.owner_index(slot));
        fences.chain(reads).map(move |(slot, count)| (owner(slot), count))
    }

    fn without_node(&self, waiting: usize) -> Health {
        Health {
            role: Role::Commands,
            node: None,
            is_ready: false,
            since: self.since,
            heard: None,
            in_flight: 0,
            waiting,
            failures: self.attempt,
            cause: self.cause.clone(),
        }
    }
}
