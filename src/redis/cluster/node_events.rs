//! What nodes tell the router: requests that were not run, and what has ended. Requests wait, and go on, from here.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use tokio::time::sleep_until;

use crate::error::Error;
use crate::redis::cluster::batches::Batches;
use crate::redis::cluster::fence::{Fence, Step};
use crate::redis::cluster::lifecycle::EndGuard;
use crate::redis::cluster::node::{Node, NodeEvent, returned_slots};
use crate::redis::cluster::router::{ClusterRouter, FencesOf, OF_MESSAGES, OF_SLOTS, RouterState};
use crate::redis::cluster::slot_map::parse_address;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::commands::redirect::{Refusal, RefusalKind, Returned};
use crate::redis::request::{Fate, Request};
use crate::redis::runtime;
use crate::redis::slot::Slot;

/// The task looks whether its router still exists at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Starts a router: it takes its events until it has ended.
pub fn start(router: &Arc<ClusterRouter>) {
    if router.join() {
        runtime::spawn(router.runtime, keep(Arc::downgrade(router)));
    }
}

async fn keep(router: Weak<ClusterRouter>) {
    let _guard = EndGuard(router.clone());
    while let Some(strong) = router.upgrade() {
        let Some(next) = strong.take_events(Instant::now()) else {
            return;
        };
        let inbox = strong.inbox.clone();
        drop(strong);
        tokio::select! {
            () = inbox.come.notified() => {}
            () = sleep_until(next.into()) => {}
        }
    }
}

impl ClusterRouter {
    /// Gives when to call it next, unless something comes before; None once the router has ended.
    fn take_events(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        let events = self.inbox.take();
        if state.ended {
            return None;
        }
        // Before any event: each may send what is to stay behind a request that a later one brings back.
        self.fence_returned(&mut state, &returned_slots(&events), now);
        let mut ended = HashSet::new();
        for event in events {
            self.take_event(&mut state, event, &mut ended, now);
        }
        self.hold_repeated(&mut state, &ended, now);
        self.answer_connecting(&mut state);
        self.tell_ready(&state);
        self.expire(&mut state, now);
        self.expire_reads(&mut state, now);
        self.retry_reads(&mut state, now);
        let next = self.step(&mut state, now);
        let others = [
            self.close_unused(&mut state, now),
            self.close_when_done(&mut state, now),
        ];
        (!state.ended).then(|| others.into_iter().flatten().fold(next, Instant::min))
    }

    /// Adds the slots of marks and guards that have ended to `ended`.
    fn take_event(&self, state: &mut RouterState, event: NodeEvent, ended: &mut HashSet<Slot>, now: Instant) {
        match event {
            NodeEvent::Returned {
                endpoint, returned, ..
            } => self.hold_returned(state, &endpoint, returned, now),
            NodeEvent::Ended(number) => {
                let slots = state.numbers.remove(&number).unwrap_or_default();
                state.publishing.ended(number, &slots, now);
                for slot in &slots {
                    state.fences.change(*slot, |fence| fence.ended(number, now));
                }
                ended.extend(slots);
            }
            // Calls of `connect` are answered by the state of the masters.
            NodeEvent::Connected => {}
            NodeEvent::Lost(number) => self.ask_again(state, number, now),
            NodeEvent::ReadsReturned(replica, returned) => {
                self.redirect_reads(state, &replica, returned, now)
            }
            NodeEvent::ReaderReady => state.readers.wake(now),
            NodeEvent::ReaderLost(number) => self.reader_lost(state, number, now),
            NodeEvent::Closed(number) => {
                state.retired.remove(&number);
            }
            NodeEvent::Keys(call) => {
                let (request, call) = *call;
                let mut batches = Batches::new(state.masters.len());
                self.keys(state, ready(request, now), call, &mut batches, now);
                self.flush(state, batches, now);
            }
        }
    }

    /// Has a request wait behind the fence of its slot. The router's task, which may sleep for long, is told when it is to end sooner.
    pub(super) fn hold(
        &self,
        state: &mut RouterState,
        request: Request,
        slot: Slot,
        fences: FencesOf,
        now: Instant,
    ) {
        let until = state.deadline(&request, self.limits());
        if !state.has_room(self.limits().max_queue) {
            let last = fences(state).change(slot, |fence| fence.last_error());
            let node = state.node_to_name(slot, last.flatten().as_ref());
            return self.refuse_full(&request, node.as_deref());
        }
        let is_sooner = fences(state).change(slot, |fence| {
            let before = fence.next_deadline();
            fence.hold(request, until, now);
            fence.next_deadline() != before
        });
        if is_sooner == Some(true) {
            self.inbox.come.notify_one();
        }
    }

    /// No master has the slot: what is for it waits for one.
    pub(super) fn refuse_unserved(&self, state: &mut RouterState, slot: Slot, now: Instant) {
        let refusal = Refusal {
            kind: RefusalKind::NotYet,
            error: Error::reply("CLUSTERDOWN Hash slot not served"),
        };
        state.fences.set(slot, || Fence::refused(refusal, now));
        state.doubt(None);
        self.inbox.come.notify_one();
    }

    /// A node has not run these requests, whose slots have fences by now.
    fn hold_returned(&self, state: &mut RouterState, node: &Endpoint, returned: Vec<Returned>, now: Instant) {
        let moved: Vec<(Slot, Endpoint)> = returned
            .iter()
            .filter_map(|Returned { refusal, .. }| match &refusal.kind {
                RefusalKind::Moved(slot, address) => Some((*slot, parse_address(address, node)?)),
                RefusalKind::Ask(_) | RefusalKind::NotYet => None,
            })
            .collect();
        if moved.iter().any(|(_, owner)| owner == node) {
            self.renew(state, node);
        }
        if !moved.is_empty()
            && let Some(map) = state
                .topology
                .as_ref()
                .and_then(|topology| topology.patch(&moved))
        {
            self.adopt(state, &map, now);
        }
        state.doubt(None);
        for Returned { request, mut refusal } in returned {
            let Some(slot) = request.slot() else { continue };
            refusal.error = refusal.error.at(Some(&node.to_string()), Some(slot));
            let until = state.deadline(&request, self.limits());
            let target = match &refusal.kind {
                RefusalKind::Ask(address) => parse_address(address, node),
                RefusalKind::Moved(..) | RefusalKind::NotYet => None,
            };
            state
                .fences
                .change(slot, |fence| fence.refuse(request, refusal, target, until, now));
        }
        state.fences.merge();
    }

    /// A node was lost, or cannot be connected to. What was to be run there by ASK is asked of the slot's master again, which may name another.
    fn ask_again(&self, state: &mut RouterState, number: u64, now: Instant) {
        let mut nodes = state.nodes.iter();
        let lost = nodes.find(|(_, node)| node.number == number);
        state.doubt(lost.map(|(endpoint, _)| endpoint));
        let node = state.node(number);
        let asking = node.map(|node| node.take_waiting(|request| request.asking));
        for mut request in asking.unwrap_or_default() {
            request.asking = false;
            let until = state.deadline(&request, self.limits());
            if let Some(slot) = request.slot() {
                state
                    .fences
                    .change(slot, |fence| fence.put_back(request, until, now));
            }
        }
    }

    /// Lets requests behind fences go on. Gives when the next may.
    fn step(&self, state: &mut RouterState, now: Instant) -> Instant {
        let mut next = now + LONGEST_WAIT;
        // A node has refused a request of these since the events were taken: it goes first, with the next ones.
        let returned: HashSet<Slot> = self
            .inbox
            .returned_slots()
            .into_iter()
            .map(|(_, slot)| slot)
            .collect();
        for fences in [OF_SLOTS, OF_MESSAGES] {
            // A failover may have thousands of fences: a write for each would take long.
            let mut batches = Batches::new(state.masters.len());
            let slots = fences(state).slots().into_iter();
            for slot in slots.filter(|slot| !returned.contains(slot)) {
                let due = self.step_fence(state, fences, slot, &mut batches, now);
                next = due.map_or(next, |due| next.min(due));
            }
            self.flush(state, batches, now);
        }
        let others = [state.waiting.next_deadline(), state.readers.next()];
        others.into_iter().flatten().fold(next, Instant::min)
    }

    /// Gives when the next request behind a fence may go on, or has waited for too long.
    fn step_fence(
        &self,
        state: &mut RouterState,
        fences: FencesOf,
        slot: Slot,
        batches: &mut Batches,
        now: Instant,
    ) -> Option<Instant> {
        let number = state.next_number();
        let step = |fence: &mut Fence| (fence.next_deadline(), fence.step(number, now));
        let (deadline, step) = fences(state).change(slot, step)?;
        let mut next = None;
        match step {
            Step::Wait(until) => next = until,
            Step::Try(requests, target) => {
                self.send_trial(state, slot, number, (requests, target), batches, now);
            }
            Step::Fall(requests) => {
                fences(state).remove(slot);
                if !requests.is_empty() {
                    self.reopen_owner(state, slot);
                }
                for request in requests {
                    self.put(state, ready(request, now), slot, batches, now);
                }
            }
        }
        next.into_iter().chain(deadline).min()
    }

    /// Sends the requests that go ahead of the others behind a fence.
    fn send_trial(
        &self,
        state: &mut RouterState,
        slot: Slot,
        number: u64,
        (requests, target): (Vec<Request>, Option<Endpoint>),
        batches: &mut Batches,
        now: Instant,
    ) {
        let guard = self.guard(state, number, vec![slot]);
        let owner = || state.map.as_ref().and_then(|map| map.owner(slot)).cloned();
        let node: Option<Arc<Node>> = target
            .or_else(owner)
            .and_then(|endpoint| self.node(state, &endpoint).ok());
        let Some(node) = node else {
            // No master has the slot yet: they wait on.
            for request in requests {
                let until = state.deadline(&request, self.limits());
                state
                    .fences
                    .change(slot, |fence| fence.put_back(request, until, now));
            }
            return state.doubt(None);
        };
        let requests = self.hold_messages(state, slot, requests, now);
        let requests = requests.into_iter().map(|request| Request {
            guard: Some(Box::new(guard.clone())),
            ..ready(request, now)
        });
        batches.node(&node).extend(requests);
    }

    /// Fails requests that have waited for too long.
    fn expire(&self, state: &mut RouterState, now: Instant) {
        let milliseconds = self.limits().queue_timeout.as_millis();
        let told =
            |cause: Option<&Error>| cause.map_or(String::new(), |cause| format!(": {}", cause.message));
        while let Some(request) = state.waiting.pop_due(now) {
            let told = told(state.cause.as_ref());
            let message = format!(
                "The slots of the cluster were not found within {milliseconds} ms (queueTimeout), so that the command was not run"
            );
            let error = state.not_run(message, &told, now);
            self.fail(&request, Fate::NotRun, error);
        }
        for fences in [OF_SLOTS, OF_MESSAGES] {
            for slot in fences(state).slots() {
                while let Some((request, last)) =
                    fences(state).change(slot, |fence| pop(fence, now)).flatten()
                {
                    let node = state.node_to_name(slot, last.as_ref());
                    let told = told(last.as_ref());
                    let message = format!(
                        "No node of the cluster took the command within {milliseconds} ms (queueTimeout), so that it was not run"
                    );
                    let error = state.not_run(message, &told, now).at(node.as_deref(), Some(slot));
                    self.fail(&request, Fate::NotRun, error);
                }
            }
        }
    }
}

/// The first request behind a fence, if it has waited for too long, and the last refusal.
fn pop(fence: &mut Fence, now: Instant) -> Option<(Request, Option<Error>)> {
    let request = fence.pop_due(now)?;
    Some((request, fence.last_error()))
}

/// A request that can be sent from now on.
pub(super) fn ready(request: Request, now: Instant) -> Request {
    Request {
        ready: now.into(),
        ..request
    }
}

#[cfg(test)]
mod tests;
