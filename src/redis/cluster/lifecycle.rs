//! A store joins a cluster, waits for its first connection, and leaves.

use std::mem;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::error::{Error, Reason};
use crate::redis::cluster::node::{Node, fail_event};
use crate::redis::cluster::refresh::with_reasons;
use crate::redis::cluster::router::{Closing, ClusterRouter, RouterState};
use crate::redis::cluster::topology::TopologyMember;
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::pipeline::{ATTEMPTS, closed};
use crate::redis::request::{Fate, Id, Role};

impl ClusterRouter {
    /// Has the slots discovered, and a connection to each master opened, from this call on. True for the first call.
    pub(super) fn join(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        if mem::replace(&mut state.started, true) {
            return false;
        }
        let topology = state.topology.clone();
        drop(state);
        if let Some(topology) = topology {
            let member: Arc<dyn TopologyMember> = self.clone();
            topology.add(Arc::downgrade(&member));
            self.apply();
        }
        true
    }

    /// Answers `id` once there is a connection to a master.
    pub fn connect(&self, id: Id) {
        let mut state = self.lock();
        if state.ended {
            return self.completions.fail(id, closed(Reason::Disconnected));
        }
        state.connecting.push((id, 0));
        self.inbox.come.notify_one();
    }

    /// Answers the calls of `connect` once a master is connected, or each has failed often enough.
    pub(super) fn answer_connecting(&self, state: &mut RouterState) {
        if state.connecting.is_empty() || state.masters.is_empty() {
            return;
        }
        let health = |node: &Arc<Node>| node.connection.with(|pipeline| pipeline.health());
        let health: Vec<_> = state.masters.iter().map(health).collect();
        let most = self.limits().max_retries.unwrap_or(ATTEMPTS).max(1);
        if health.iter().any(|node| node.is_ready) {
            for (id, _) in mem::take(&mut state.connecting) {
                self.completions.done(id);
            }
        } else if health.iter().all(|node| node.failures >= most) {
            let masters = state.map.iter().flat_map(|map| map.masters());
            let causes = masters.zip(&health);
            let causes: Vec<_> = causes
                .filter_map(|(master, node)| Some((master, node.cause.as_ref()?)))
                .collect();
            let reason = causes.iter().find_map(|(_, cause)| cause.reason);
            let message = format!(
                "No master of the cluster can be connected to: {} (these addresses are those that its nodes tell: redis.cluster.addressMap says where they lead)",
                with_reasons(&causes)
            );
            let mut error = Error::because(reason.unwrap_or(Reason::NotReady), message);
            if let Some((_, cause)) = causes.first() {
                error = error.caused_by((*cause).clone());
            }
            for (id, _) in mem::take(&mut state.connecting) {
                self.completions.fail(id, error.clone());
            }
        }
    }

    /// Others may have the slots of a node that is lost for good: tells that all masters are connected, as the node itself never will.
    pub(super) fn tell_ready(&self, state: &RouterState) {
        if !self.inbox.is_lost() {
            return;
        }
        let connected = |node: &Arc<Node>| {
            let health = node.connection.with(|pipeline| pipeline.health());
            health
                .node
                .filter(|_| health.is_ready)
                .map(|name| (health.since, name))
        };
        let mut last = None;
        for node in &state.masters {
            let Some(found) = connected(node) else { return };
            last = last.max(Some(found));
        }
        // One that was lost may have told that it is there again, meanwhile.
        let Some((_, node)) = last.filter(|_| self.inbox.take_lost()) else {
            return;
        };
        let mut batch = CompletionBatch::default();
        let role = Role::Commands;
        batch.events.push(Event::Ready { role, node });
        self.completions.put(batch);
    }

    /// Answers `id` once all that was asked for is answered and the connections are closed.
    pub fn close(&self, id: Id) {
        let mut state = self.lock();
        if !state.started || state.ended {
            return self.completions.done(id);
        }
        let latest = Instant::now() + self.limits().timeout;
        state.closing = Some(Closing { id, latest });
        state.waiting.wait_until(latest);
        state.readers.held.wait_until(latest);
        state.fences.wait_until(latest);
        state.publishing.fences.wait_until(latest);
        self.fail_connecting(&mut state);
        self.inbox.come.notify_one();
    }

    fn fail_connecting(&self, state: &mut RouterState) {
        for (id, _) in mem::take(&mut state.connecting) {
            self.completions.fail(id, closed(Reason::Disconnected));
        }
    }

    /// Closes the nodes once nothing waits, and answers the call of `close` once they have closed. Gives when it is to be called at the
    /// latest.
    pub(super) fn close_when_done(&self, state: &mut RouterState, now: Instant) -> Option<Instant> {
        let latest = state.closing.as_ref()?.latest;
        // A node may have taken requests, or been opened, since the call of `close`.
        for node in state.all_nodes() {
            node.connection.with(|pipeline| pipeline.wait_until(latest));
        }
        state.end_unused_propagations();
        let is_idle = state.waiting.is_empty() && state.readers.held.is_empty();
        let is_settled = state.fences.is_empty() && state.numbers.is_empty();
        // Calls of KEYS and SCAN end in their own time.
        let is_spreading = state.numbers.values().any(Vec::is_empty);
        // Nothing waits from the latest time on. A fence may still stand then, for a reply of which only parts come.
        let is_late = latest <= now;
        if is_spreading || !(is_late || is_idle && is_settled) {
            return (!is_late).then_some(latest);
        }
        state.retire_all();
        if state.retired.is_empty() {
            state.end();
            self.answer_close(state);
        }
        None
    }

    /// Once: an answer too many would count for a call that still waits, and the process could end before that is answered.
    fn answer_close(&self, state: &mut RouterState) {
        if let Some(closing) = state.closing.take() {
            self.completions.done(closing.id);
        }
    }

    /// Drops all connections. Open requests never get an answer.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.end();
        for node in state.all_nodes() {
            node.connection.abandon();
        }
        self.inbox.come.notify_one();
    }

    /// The task has ended: what it was to send on fails, and the nodes close once they have answered.
    fn end(&self) {
        let mut state = self.lock();
        state.end();
        for event in self.inbox.end() {
            fail_event(&self.completions, &event);
        }
        let mut unsent = state.fences.take();
        unsent.extend(state.publishing.fences.take());
        unsent.extend(state.waiting.take_if(|_| true));
        unsent.extend(state.readers.held.take_if(|_| true));
        for request in unsent {
            self.fail(&request, Fate::NotRun, closed(Reason::Disconnected));
        }
        self.fail_connecting(&mut state);
        self.answer_close(&mut state);
        state.retire_all();
    }
}

impl RouterState {
    /// Has a node close once it has answered all. Until then JavaScript's thread polls its socket.
    pub fn retire(&mut self, node: Arc<Node>) {
        node.close();
        self.retired.insert(node.number, node);
    }

    fn retire_all(&mut self) {
        let masters = mem::take(&mut self.nodes).into_values();
        let readers = mem::take(&mut self.readers.nodes).into_values();
        for node in masters.chain(readers.map(|reader| reader.node)) {
            self.retire(node);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.topology = None;
    }
}

/// Ends the router with its task, whatever has ended that, a panic too: no request is left without an answer.
pub struct EndGuard(pub Weak<ClusterRouter>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if let Some(router) = self.0.upgrade() {
            router.end();
        }
    }
}
