//! How a router takes maps: which nodes it is connected to, and what moves to another node.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::batches::Batches;
use crate::redis::cluster::fence::{Fence, Fences};
use crate::redis::cluster::node::{Node, SILENT};
use crate::redis::cluster::node_events::ready;
use crate::redis::cluster::publishing::BUS_TIMEOUT;
use crate::redis::cluster::router::{ClusterRouter, RouterState};
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::TopologyMember;
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::{ATTEMPTS, closed};
use crate::redis::request::{Fate, Observer, Request, Role};
use crate::redis::slot::Slot;

/// For how long a connection to a node without slots is kept: a node that is behind may name it as a master once more.
const KEPT: Duration = Duration::from_secs(2);
/// A connection that is younger leads to where its node's address does.
const RENEWED: Duration = Duration::from_secs(1);

impl ClusterRouter {
    /// The connection to a node, which is opened if there is none.
    pub(super) fn node(&self, state: &mut RouterState, endpoint: &Endpoint) -> Result<Arc<Node>> {
        if let Some(node) = state.nodes.get(endpoint) {
            return Ok(node.clone());
        }
        if state.ended {
            return Err(closed(Reason::Disconnected));
        }
        let number = state.next_number();
        let node = Node::open(number, &self.config, endpoint, &self.completions, &self.inbox)?;
        state.nodes.insert(endpoint.clone(), node.clone());
        Ok(node)
    }

    /// Has the master of a slot take requests once more: that of a store which is to close may have ended.
    pub(super) fn reopen_owner(&self, state: &mut RouterState, slot: Slot) {
        if let Some(map) = state.map.clone()
            && let Some(index) = map.owner_index(slot)
            && let Ok(node) = self.node(state, &map.masters()[index])
        {
            state.masters[index] = node;
        }
    }

    /// A node says that a slot is at its own address. That leads to another server by now, to which a new connection does.
    pub(super) fn renew(&self, state: &RouterState, endpoint: &Endpoint) {
        if let Some(node) = state.nodes.get(endpoint) {
            node.connection.with(|pipeline| {
                if pipeline.is_connected() && pipeline.health().since.elapsed() >= RENEWED {
                    pipeline.retire();
                }
            });
        }
    }

    /// Uses a map from now on. Requests that wait for a node which has lost their slot go to the slot's new master.
    pub(super) fn adopt(&self, state: &mut RouterState, map: &Arc<SlotMap>, now: Instant) {
        if state.ended || state.map.as_ref().is_some_and(|known| Arc::ptr_eq(known, map)) {
            return;
        }
        let masters: Result<Vec<_>> = map
            .masters()
            .iter()
            .map(|master| self.node(state, master))
            .collect();
        let Ok(masters) = masters else { return };
        let before = state.map.replace(map.clone());
        state.masters = masters;
        state.move_messages(now);
        state.cause = None;
        let mut batches = Batches::new(state.masters.len());
        match before {
            Some(before) => self.reroute(state, &before, &mut batches, now),
            None => {
                state.since = now;
                while let Some(waiting) = state.waiting.pop() {
                    self.route(state, waiting.request, &mut batches, now);
                }
            }
        }
        self.flush(state, batches, now);
        self.find_unused(state, now);
        self.close_unused_readers(state, map, now);
    }

    /// Moves what waits for slots that have another master than before. What is in flight at the old one is answered first.
    fn reroute(&self, state: &mut RouterState, before: &SlotMap, batches: &mut Batches, now: Instant) {
        let Some(map) = state.map.clone() else { return };
        let changed = before.changed(&map);
        let mut by_owner: HashMap<&Endpoint, HashSet<Slot>> = HashMap::new();
        for slot in changed {
            if let Some(owner) = before.owner(slot) {
                by_owner.entry(owner).or_default().insert(slot);
            }
        }
        for (owner, slots) in by_owner {
            let Some(node) = state.nodes.get(owner).cloned() else {
                continue;
            };
            let number = state.next_number();
            let (waiting, in_flight) = node.connection.with(|pipeline| {
                let is_of = |request: &Request| request.slot().is_some_and(|slot| slots.contains(&slot));
                let waiting = pipeline.take_waiting(is_of);
                let in_flight = pipeline.slots_in_flight(&slots);
                if !in_flight.is_empty() {
                    pipeline.mark(number);
                }
                (waiting, in_flight)
            });
            for slot in &in_flight {
                state.fences.drain(*slot, number);
            }
            if !in_flight.is_empty() {
                state.numbers.insert(number, in_flight.into_iter().collect());
            }
            // What a node has not run may be neither in flight nor behind a fence yet: later requests of its slot would overtake it.
            self.fence_returned(state, &self.inbox.returned_slots(), now);
            for request in waiting {
                if let Some(slot) = request.slot() {
                    self.put(state, ready(request, now), slot, batches, now);
                }
            }
        }
    }

    /// Sets the fences of slots of which nodes have refused requests. Others of a slot may be in flight at its node, or wait there: these come
    /// behind the fence.
    pub(super) fn fence_returned(&self, state: &mut RouterState, returned: &[(u64, Slot)], now: Instant) {
        let mut by_node: Vec<(u64, HashSet<Slot>)> = Vec::new();
        for (node, slot) in returned {
            if state.fences.contains(*slot) {
                continue;
            }
            match by_node.iter_mut().find(|(known, _)| known == node) {
                Some((_, slots)) => {
                    slots.insert(*slot);
                }
                None => by_node.push((*node, HashSet::from_iter([*slot]))),
            }
        }
        for (node, slots) in by_node {
            let number = state.next_number();
            let (in_flight, waiting) = state.node(node).map_or_else(Default::default, |node| {
                node.connection.with(|pipeline| {
                    let in_flight = pipeline.slots_in_flight(&slots);
                    if !in_flight.is_empty() {
                        pipeline.mark(number);
                    }
                    let is_of = |request: &Request| request.slot().is_some_and(|slot| slots.contains(&slot));
                    (in_flight, pipeline.take_waiting(is_of))
                })
            });
            for slot in slots {
                match in_flight.contains(&slot) {
                    true => state.fences.drain(slot, number),
                    false => state.fences.set(slot, || Fence::open(now)),
                }
            }
            if !in_flight.is_empty() {
                state.numbers.insert(number, in_flight.into_iter().collect());
            }
            self.hold_again(state, waiting, now);
        }
    }

    /// Has requests that nodes had wait behind the fences of their slots.
    fn hold_again(&self, state: &mut RouterState, requests: Vec<Request>, now: Instant) {
        for request in requests {
            let until = state.deadline(&request, self.limits());
            if let Some(slot) = request.slot() {
                state
                    .fences
                    .change(slot, |fence| fence.take_back(request, until, now));
            }
        }
        state.fences.merge();
    }

    /// What was in flight at a connection that was lost, and may be sent again, waits for the next one to its node. It goes on from its place
    /// behind the fence, as it would overtake what waits there, or be overtaken. What is tried at the slot's owner goes first anyway.
    pub(super) fn hold_repeated(&self, state: &mut RouterState, slots: &HashSet<Slot>, now: Instant) {
        let Some(map) = state.map.clone() else { return };
        if !slots.iter().any(|slot| state.fences.contains(*slot)) {
            return;
        }
        let nodes = state.nodes.iter().map(|(endpoint, node)| (Some(endpoint), node));
        let retired = state.retired.values().map(|node| (None, node));
        let mut repeated = Vec::new();
        for (endpoint, node) in nodes.chain(retired) {
            let is_owner = |slot: Slot| endpoint.is_some() && map.owner(slot) == endpoint;
            let is_lost = |request: &Request| {
                request.slot().is_some_and(|slot| {
                    let is_tried = request.guard.is_some() && is_owner(slot);
                    slots.contains(&slot) && !is_tried && state.fences.contains(slot)
                })
            };
            repeated.extend(node.connection.with(|pipeline| pipeline.take_waiting(is_lost)));
        }
        self.hold_again(state, repeated, now);
    }

    /// Marks nodes that are not masters now for closing: at once, or after a while if connected. Also after a while if messages were
    /// published there, as it is propagated from there.
    fn find_unused(&self, state: &mut RouterState, now: Instant) {
        let RouterState {
            nodes,
            unused,
            map,
            publishing,
            ..
        } = state;
        let Some(map) = map else { return };
        let is_used = |endpoint: &Endpoint| map.masters().contains(endpoint);
        unused.retain(|endpoint, _| !is_used(endpoint));
        for (endpoint, node) in nodes.iter().filter(|(endpoint, _)| !is_used(endpoint)) {
            unused.entry(endpoint.clone()).or_insert_with(|| {
                let is_connected = node.connection.with(|pipeline| pipeline.is_connected());
                now + match (is_connected, publishing.has_published(node.number)) {
                    (true, true) => KEPT.max(self.limits().timeout),
                    (true, false) => KEPT,
                    (false, true) => BUS_TIMEOUT,
                    (false, false) => Duration::ZERO,
                }
            });
        }
    }

    /// Closes the nodes whose time has come. Gives when that of the next one comes.
    pub(super) fn close_unused(&self, state: &mut RouterState, now: Instant) -> Option<Instant> {
        // One that is lost is gone: the store would be told of each attempt to connect to it.
        for (endpoint, close) in &mut state.unused {
            let node = state.nodes.get(endpoint);
            if node.is_some_and(|node| !node.connection.with(|pipeline| pipeline.is_connected())) {
                *close = (*close).min(now + BUS_TIMEOUT);
            }
        }
        let is_asked =
            |fences: &Fences, endpoint| fences.iter().any(|fence| fence.target() == Some(endpoint));
        let is_left = |endpoint| {
            let node = state.nodes.get(endpoint);
            node.is_some_and(|node| state.publishing.propagates_from(node.number))
        };
        let due = state.unused.iter().filter(|(_, close)| **close <= now);
        let due = due.filter(|(endpoint, _)| !is_asked(&state.fences, endpoint) && !is_left(*endpoint));
        let due: Vec<_> = due.map(|(endpoint, _)| endpoint.clone()).collect();
        for endpoint in due {
            state.unused.remove(&endpoint);
            if let Some(node) = state.nodes.remove(&endpoint) {
                state.retire(node);
            }
        }
        state.unused.values().filter(|close| **close > now).min().copied()
    }
}

impl TopologyMember for ClusterRouter {
    fn apply(&self) {
        let mut state = self.lock();
        if let Some(map) = state.topology.as_ref().and_then(|topology| topology.map()) {
            self.adopt(&mut state, &map, Instant::now());
        }
        self.inbox.come.notify_one();
    }

    fn not_discovered(&self, cause: &Error, refused: bool, delay: Duration) {
        let mut state = self.lock();
        state.attempt += 1;
        state.cause = Some(cause.clone());
        let max_retries = self.limits().max_retries;
        let mut batch = CompletionBatch::default();
        batch.events.push(Event::Reconnecting {
            role: Role::Commands,
            node: None,
            attempt: state.attempt,
            delay,
            cause: cause.clone(),
        });
        for (id, mut failures) in mem::take(&mut state.connecting) {
            failures += 1;
            if refused || failures >= max_retries.unwrap_or(ATTEMPTS).max(1) {
                batch.failed(id, cause.clone());
            } else {
                state.connecting.push((id, failures));
            }
        }
        let given_up = state.waiting.take_if(|waiting| {
            waiting.attempts += 1;
            refused || max_retries.is_some_and(|most| waiting.attempts > most)
        });
        self.completions.put(batch);
        for request in given_up {
            self.fail(&request, Fate::NotRun, cause.clone());
        }
    }

    fn ask(&self, node: &Endpoint, command: &[&[u8]]) -> Option<oneshot::Receiver<Bytes>> {
        let node = self.lock().nodes.get(node).cloned()?;
        let (answer, answered) = oneshot::channel();
        let observer = Arc::new(TopologyObserver(Mutex::new(Some(answer))));
        let now = Instant::now();
        node.connection.with(|pipeline| {
            let is_well = pipeline.is_connected() && pipeline.silence(now) < SILENT;
            is_well.then(|| pipeline.ask(command, observer, now))
        })?;
        Some(answered)
    }

    fn silent_masters(&self) -> Vec<Endpoint> {
        let now = Instant::now();
        let state = self.lock();
        let masters = state.map.iter().flat_map(|map| map.masters());
        let is_silent = |node: &Arc<Node>| node.connection.with(|pipeline| pipeline.silence(now) >= SILENT);
        let silent = masters.zip(&state.masters).filter(|(_, node)| is_silent(node));
        silent.map(|(master, _)| master.clone()).collect()
    }
}

/// Takes the reply to a question of the topology.
#[derive(Debug)]
struct TopologyObserver(Mutex<Option<oneshot::Sender<Bytes>>>);

impl Observer for TopologyObserver {
    fn replied(&self, replies: &Bytes) {
        if let Some(answer) = self.0.lock().take() {
            // The receiver may be gone after a timeout.
            let _ = answer.send(replies.clone());
        }
    }

    fn unanswered(&self, _: Fate) {
        self.0.lock().take();
    }
}
