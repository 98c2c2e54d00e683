//! The fence of a slot: while a node refuses requests of the slot, later ones wait, so that none overtakes another.
//!
//! Requests that are in flight when the first is refused are answered or refused too. Then the first that waits is tried alone, as the
//! server may change its mind between two requests. After ASK several are tried, if they have one key each or only read. Once these are
//! served, the others follow.

use std::mem;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::error::Error;
use crate::redis::endpoint::Endpoint;
use crate::redis::moment::Moment;
use crate::redis::pipeline::commands::redirect::{Refusal, RefusalKind};
use crate::redis::pipeline::queue::Queue;
use crate::redis::request::{CallOrder, Request};
use crate::redis::slot::Slot;

/// The wait after a refusal that time alone may end; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The least time in which a redirected request may reach its node.
const REDIRECTION: Duration = Duration::from_millis(250);
/// After so many refusals in a row a redirection waits too: nodes that send a request in a circle disagree.
const HOPS: u32 = 5;

enum FenceState {
    /// Requests before the marks of these numbers are in flight, or those with the guard of one are under way.
    Pending(Vec<u64>),
    /// Nothing is under way until then.
    Waiting(Instant),
}

pub struct Fence {
    held: Queue,
    /// What nodes have given back, until it is merged with the others.
    returned: Queue,
    state: FenceState,
    /// Where requests with `asking` go.
    target: Option<Endpoint>,
    /// The refusal since the last try, and the last one of all.
    refused: bool,
    last: Option<Refusal>,
    refusals: u32,
    /// The last call that was answered by TRYAGAIN: up to it requests go one at a time, as it may be refused again.
    again: Option<CallOrder>,
}

/// What the router does next at a fence.
pub enum Step {
    /// Nothing before this time; None while a mark or a guard is awaited.
    Wait(Option<Instant>),
    /// Sends these to the target, or to the slot's owner if there is none, with a guard of the number that `step` was given.
    Try(Vec<Request>, Option<Endpoint>),
    /// Removes the fence, and sends all that waited to the slot's owner.
    Fall(Vec<Request>),
}

impl Fence {
    /// Requests before the mark of this number are in flight.
    pub fn draining(number: u64) -> Self {
        Self::new(FenceState::Pending(vec![number]))
    }

    /// Nothing is in flight.
    pub fn open(now: Instant) -> Self {
        Self::new(FenceState::Waiting(now))
    }

    /// No node would take a request.
    pub fn refused(refusal: Refusal, now: Instant) -> Self {
        Self {
            refused: true,
            last: Some(refusal),
            ..Self::new(FenceState::Waiting(now + FIRST_WAIT))
        }
    }

    fn new(state: FenceState) -> Self {
        Self {
            held: Queue::default(),
            returned: Queue::default(),
            state,
            target: None,
            refused: false,
            last: None,
            refusals: 0,
            again: None,
        }
    }

    /// Requests before the mark of this number are in flight too.
    pub fn drain(&mut self, number: u64) {
        match &mut self.state {
            FenceState::Pending(numbers) => numbers.push(number),
            FenceState::Waiting(_) => self.state = FenceState::Pending(vec![number]),
        }
    }

    pub fn target(&self) -> Option<&Endpoint> {
        self.target.as_ref()
    }

    /// Has a request wait until then.
    pub fn hold(&mut self, mut request: Request, until: Moment, now: Instant) {
        request.guard = None;
        let until = self.waits_until(until, now);
        self.held.push(request, until);
    }

    /// The same of one of many that a node gives back. `Fences::merge` puts them in their places.
    pub fn take_back(&mut self, mut request: Request, until: Moment, now: Instant) {
        request.guard = None;
        let until = self.waits_until(until, now);
        self.returned.push(request, until);
    }

    /// While a redirection is followed a request has time to get there, however short `queueTimeout` is.
    fn waits_until(&self, until: Moment, now: Instant) -> Moment {
        let waits_for_node = self
            .last
            .as_ref()
            .is_some_and(|last| last.kind == RefusalKind::NotYet);
        match waits_for_node {
            true => until,
            false => until.max((now + REDIRECTION).into()),
        }
    }

    /// A node has refused a request. It waits in its place among the others, once these are merged.
    pub fn refuse(
        &mut self,
        mut request: Request,
        refusal: Refusal,
        target: Option<Endpoint>,
        until: Moment,
        now: Instant,
    ) {
        request.asking = target.is_some() && matches!(refusal.kind, RefusalKind::Ask(_));
        if request.asking {
            self.target = target;
        }
        if refusal.error.code == "TRYAGAIN" {
            let order = request.order();
            self.again = self.again.filter(|last| order.is_before(last)).or(Some(order));
        }
        self.refused = true;
        self.last = Some(refusal);
        self.take_back(request, until, now);
    }

    fn merge(&mut self) {
        if !self.returned.is_empty() {
            self.held.merge(mem::take(&mut self.returned));
        }
    }

    /// A request that was to be tried could not be sent.
    pub fn put_back(&mut self, request: Request, until: Moment, now: Instant) {
        self.refused = true;
        self.hold(request, until, now);
    }

    /// A mark has passed, or a guard was dropped: nothing is in flight of what it stood for.
    pub fn ended(&mut self, number: u64, now: Instant) {
        let FenceState::Pending(numbers) = &mut self.state else {
            return;
        };
        let before = numbers.len();
        numbers.retain(|other| *other != number);
        if numbers.len() == before || !numbers.is_empty() {
            return;
        }
        if self.refused {
            self.refusals += 1;
        } else {
            self.refusals = 0;
        }
        let is_redirected = self
            .last
            .as_ref()
            .is_some_and(|last| last.kind != RefusalKind::NotYet);
        let goes_on = !self.refused || is_redirected && self.refusals < HOPS;
        let wait = if goes_on { Duration::ZERO } else { self.wait() };
        self.state = FenceState::Waiting(now + wait);
    }

    fn wait(&self) -> Duration {
        FIRST_WAIT
            .saturating_mul(1 << self.refusals.saturating_sub(1).min(10))
            .min(LONGEST_WAIT)
    }

    /// The next step at this time. `number` is that of the guard, if something is to be tried.
    pub fn step(&mut self, number: u64, now: Instant) -> Step {
        match self.state {
            FenceState::Pending(_) => return Step::Wait(None),
            FenceState::Waiting(until) if until > now => return Step::Wait(Some(until)),
            FenceState::Waiting(_) => {}
        }
        let asks = self.held.first().is_some_and(|first| first.asking);
        let first = self.held.first().map(Request::order);
        self.again = self
            .again
            .filter(|last| first.is_some_and(|first| !last.is_before(&first)));
        if !self.refused && !asks && self.again.is_none() {
            let all = std::iter::from_fn(|| self.held.pop()).map(|waiting| waiting.request);
            return Step::Fall(all.collect());
        }
        let group = self.pop_group(asks);
        if group.is_empty() {
            return Step::Fall(group);
        }
        self.refused = false;
        self.state = FenceState::Pending(vec![number]);
        let target = self.target.clone().filter(|_| asks);
        Step::Try(group, target)
    }

    /// The first request. If it `asks`, also those behind it that have one key too, or that are reads like it. A key that is missing at the
    /// source of a migration is at its target; of several keys the target may have only some. Reads have no order among each other.
    fn pop_group(&mut self, asks: bool) -> Vec<Request> {
        let mut group: Vec<Request> = Vec::new();
        let (mut have_one_key, mut are_reads) = (asks, asks);
        while let Some(next) = self.held.first() {
            have_one_key &= next.asking && next.has_one_key;
            are_reads &= next.asking && next.repeatable;
            if !group.is_empty() && !have_one_key && !are_reads {
                break;
            }
            group.extend(self.held.pop().map(|waiting| waiting.request));
        }
        group
    }

    /// The first request, if it has waited for too long.
    pub fn pop_due(&mut self, now: Instant) -> Option<Request> {
        self.held.pop_due(now)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.held.next_deadline()
    }

    /// The last refusal of all, in the server's words.
    pub fn last_error(&self) -> Option<Error> {
        self.last.as_ref().map(|last| last.error.clone())
    }
}

/// The fences of a router, each with its slot.
#[derive(Default)]
pub struct Fences {
    by_slot: HashMap<Slot, Fence>,
    /// How many requests wait behind all of them: asked for each request that is held.
    held: usize,
}

impl Fences {
    pub fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    pub fn held(&self) -> usize {
        self.held
    }

    /// How many wait for each slot.
    pub fn held_by_slot(&self) -> impl Iterator<Item = (Slot, usize)> {
        self.by_slot.iter().map(|(slot, fence)| (*slot, fence.held.len()))
    }

    pub fn contains(&self, slot: Slot) -> bool {
        self.by_slot.contains_key(&slot)
    }

    pub fn slots(&self) -> Vec<Slot> {
        self.by_slot.keys().copied().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fence> {
        self.by_slot.values()
    }

    /// Has the fence of a slot, which is set if there is none, wait for a mark.
    pub fn drain(&mut self, slot: Slot, number: u64) {
        let fence = self.by_slot.entry(slot);
        fence
            .and_modify(|fence| fence.drain(number))
            .or_insert_with(|| Fence::draining(number));
    }

    /// Sets a fence. One that the slot has stays.
    pub fn set(&mut self, slot: Slot, fence: impl FnOnce() -> Fence) {
        self.by_slot.entry(slot).or_insert_with(fence);
    }

    pub fn remove(&mut self, slot: Slot) {
        if let Some(fence) = self.by_slot.remove(&slot) {
            self.held -= fence.held.len();
        }
    }

    /// Uses the fence of a slot, if it has one.
    pub fn change<R>(&mut self, slot: Slot, work: impl FnOnce(&mut Fence) -> R) -> Option<R> {
        let fence = self.by_slot.get_mut(&slot)?;
        let before = fence.held.len();
        let result = work(fence);
        self.held = self.held + fence.held.len() - before;
        Some(result)
    }

    /// Puts what nodes have given back among what is held.
    pub fn merge(&mut self) {
        for fence in self.by_slot.values_mut() {
            self.held += fence.returned.len();
            fence.merge();
        }
    }

    /// Removes all fences, and gives the requests behind them.
    pub fn take(&mut self) -> Vec<Request> {
        let fences = mem::take(self).by_slot.into_values();
        fences
            .flat_map(|mut fence| fence.held.take_if(|_| true))
            .collect()
    }

    /// Shortens the deadlines to `latest`.
    pub fn wait_until(&mut self, latest: Instant) {
        for fence in self.by_slot.values_mut() {
            fence.held.wait_until(latest);
        }
    }
}

#[cfg(test)]
mod tests;
