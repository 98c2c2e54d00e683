//! The gap in what was received: when it begins and ends, and who is told.

use std::time::{Instant, SystemTime};

use crate::redis::completions::Gap;
use crate::redis::endpoint::EndpointName;
use crate::redis::subscriber::entry::Registration;
use crate::redis::subscriber::listener::Deliveries;
use crate::redis::subscriber::table::{OpenGap, Table};

impl Table {
    /// The gap began at this time at the latest, and lasts until a moment at least. If none is open, one opens: topics that are subscribed before
    /// that moment are told of it.
    pub fn widen_gap(&mut self, from: SystemTime, node: Option<EndpointName>, until: Instant) {
        let gap = self.gap.get_or_insert(OpenGap::new(from, node));
        gap.from = from.min(gap.from);
        gap.until = gap.until.max(Some(until));
    }

    /// Up to when no message was missed: until a moment, or until the gap that is open began.
    pub fn complete_until(&self, moment: SystemTime) -> SystemTime {
        self.gap.as_ref().map_or(moment, |gap| moment.min(gap.from))
    }

    /// The moment before which the gap cannot end, while it is to come.
    pub fn gap_lasts_until(&self, now: Instant) -> Option<Instant> {
        self.gap.as_ref()?.until.filter(|until| now < *until)
    }

    /// The gap, once all that was due is answered, and those who publish have followed the master.
    pub fn end_gap(&mut self, now: Instant) -> Option<Gap> {
        let waits = self.unanswered > 0 || !self.queued.is_empty() || !self.displaced.is_empty();
        if waits || self.gap_lasts_until(now).is_some() {
            return None;
        }
        let OpenGap { from, node, until } = self.gap.take()?;
        if until.is_some() {
            // Topics that are new since the handover have missed what went to the old master.
            for registration in self.registrations_mut() {
                registration.misses |= registration.may_miss();
            }
        }
        Some(Gap::until_now(from, node))
    }

    /// Tells those who may have missed something.
    pub fn tell_gap(&mut self, gap: &Gap, deliveries: &mut Deliveries) {
        for (number, listener) in &self.listeners {
            if self.misses(*number) {
                deliveries.to(*number, listener).push_gap(gap.clone());
            }
        }
        self.registrations_mut()
            .for_each(|registration| registration.misses = false);
    }

    /// What a listener is told of a topic that was refused, if nothing else of its own is left that the end of the gap would tell of.
    pub fn last_gap(&self, refused: &Registration) -> Option<Gap> {
        let gap = self.gap.as_ref().filter(|_| refused.misses)?;
        (!self.misses(refused.listener)).then(|| Gap::until_now(gap.from, gap.node.clone()))
    }

    /// Whether a listener may have missed messages of which it has not been told.
    pub fn misses(&self, number: usize) -> bool {
        let mut registrations = self.topics.values().flat_map(|entry| &entry.registrations);
        registrations.any(|each| each.listener == number && each.misses)
    }
}
