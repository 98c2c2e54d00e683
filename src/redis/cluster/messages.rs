//! Which messages a router may publish, and which wait for those before them: [`publishing`](super::publishing).

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::redis::cluster::fence::Fence;
use crate::redis::cluster::node::Node;
use crate::redis::cluster::publishing::{Last, Propagation, publish_until_heard};
use crate::redis::cluster::router::{ClusterRouter, OF_MESSAGES, RouterState};
use crate::redis::request::Request;
use crate::redis::runtime;
use crate::redis::slot::Slot;

impl ClusterRouter {
    /// Whether a message of a slot may be published at its master now. Otherwise a fence holds it.
    pub(super) fn may_publish(&self, state: &mut RouterState, slot: Slot, master: usize) -> bool {
        if state.publishing.fences.contains(slot) {
            return false;
        }
        let to = state.masters[master].number;
        let last = state.publishing.last.get(&slot);
        let from = last
            .filter(|last| last.node != to && last.reached != Some(to))
            .map(|last| last.node);
        // The previous node stays open until its messages have arrived.
        let from = from.and_then(|from| state.nodes.values().find(|node| node.number == from));
        let propagation = from
            .cloned()
            .and_then(|from| self.propagate(state, &from, master, slot));
        let Some(number) = propagation else {
            let last = Last {
                node: to,
                reached: None,
            };
            state.publishing.last.insert(slot, last);
            return true;
        };
        state.publishing.fences.set(slot, || Fence::draining(number));
        false
    }

    /// Holds the messages among requests that were to go ahead of others, unless they may be published.
    pub(super) fn hold_messages(
        &self,
        state: &mut RouterState,
        slot: Slot,
        requests: Vec<Request>,
        now: Instant,
    ) -> Vec<Request> {
        let Some(master) = state.map.as_ref().and_then(|map| map.owner_index(slot)) else {
            return requests;
        };
        let mut others = Vec::new();
        for request in requests {
            if request.publishes && !request.asking && !self.may_publish(state, slot, master) {
                self.hold(state, request, slot, OF_MESSAGES, now);
            } else {
                others.push(request);
            }
        }
        others
    }

    /// Has the messages of a slot wait for a propagation. None if there was one since the slot has moved.
    fn propagate(&self, state: &mut RouterState, from: &Arc<Node>, master: usize, slot: Slot) -> Option<u64> {
        let to = state.masters[master].number;
        let mut propagations = state.publishing.propagations.iter();
        let same = propagations.find(|propagation| {
            propagation.is_current && propagation.from == from.number && propagation.to == to
        });
        if let Some(same) = same {
            let slots = state.numbers.get_mut(&same.number).filter(|_| !same.is_over)?;
            slots.push(slot);
            return Some(same.number);
        }
        let home = state.map.as_ref()?.masters().get(master)?.clone();
        let number = state.next_number();
        let guard = self.guard(state, number, vec![slot]);
        let (wanted, unwanted) = oneshot::channel();
        state.publishing.propagations.push(Propagation {
            number,
            from: from.number,
            to,
            is_current: true,
            is_over: false,
            _wanted: wanted,
        });
        let (listen, config) = (self.listen, self.config.clone());
        let (from, longest) = (from.clone(), self.limits().timeout);
        runtime::spawn(self.runtime, async move {
            // A process that can open no connection cannot know.
            if let Ok(hearing) = listen(&config, &home) {
                let until = Instant::now() + longest;
                // A node that does not answer is waited for no longer than for a reply.
                let propagated = timeout_at(until.into(), publish_until_heard(hearing, &from));
                tokio::select! {
                    _ = propagated => {}
                    _ = unwanted => {}
                }
            }
            drop(guard);
        });
        Some(number)
    }
}

impl RouterState {
    /// The masters are others. Messages wait for no propagation to a node that is not their home.
    pub fn move_messages(&mut self, now: Instant) {
        let Some(map) = &self.map else { return };
        let masters = &self.masters;
        let is_home = |slot, node| {
            let home = map.owner_index(slot).map(|index| masters[index].number);
            home == Some(node)
        };
        self.publishing.moved(&mut self.numbers, is_home, now);
    }

    /// The store is to close: no propagation keeps it open for which no message waits.
    pub fn end_unused_propagations(&mut self) {
        if self.publishing.fences.held() == 0 {
            let now = Instant::now();
            self.publishing.moved(&mut self.numbers, |_, _| false, now);
        }
    }
}
