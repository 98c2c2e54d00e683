//! Until when a server was the master for certain.

use std::time::{Duration, Instant};

use crate::redis::connection::sentinel::board::{Board, Confirmed};
use crate::redis::endpoint::Endpoint;

/// For so long Sentinels may name a master when another one takes writes already. The leader of a failover reads the role of the new one once a
/// second, and the others hear of it from the leader.
const BEHIND: Duration = Duration::from_millis(1_500);
/// How many masters are remembered.
const REMEMBERED: usize = 16;

impl Confirmed {
    /// No other took writes before this moment.
    fn certain_until(&self) -> Instant {
        let earliest = self.at.checked_sub(BEHIND).unwrap_or(self.at);
        let until = self
            .promotion
            .map_or(earliest, |told| told.clamp(earliest, self.at));
        until.max(self.since)
    }
}

impl Board {
    pub(super) fn believe(&mut self, master: Endpoint, now: Instant) {
        let promoting = self.promoting.take();
        let promotion = promoting.filter(|(replica, _)| *replica == master);
        if self.master.as_ref() != Some(&master) {
            self.confirmed.retain(|other| other.endpoint != master);
            if let Some(before) = self.confirmed.last_mut() {
                before.promotion = promotion.map(|(_, told)| told);
            }
        }
        self.master = Some(master.clone());
        self.confirm(master, now);
    }

    pub(super) fn confirm(&mut self, master: Endpoint, at: Instant) {
        match self.confirmed.iter_mut().find(|known| known.endpoint == master) {
            Some(known) => known.at = known.at.max(at),
            None => self.confirmed.push(Confirmed {
                endpoint: master,
                since: at,
                at,
                promotion: None,
            }),
        }
        let surplus = self.confirmed.len().saturating_sub(REMEMBERED);
        self.confirmed.drain(..surplus);
    }

    /// When a Sentinel was asked last that named an endpoint as the master, as most did.
    pub fn confirmed(&self, endpoint: &Endpoint) -> Option<Instant> {
        self.known(endpoint).map(|known| known.at)
    }

    /// Until when an endpoint was the master for certain.
    pub fn certain(&self, endpoint: &Endpoint) -> Option<Instant> {
        self.known(endpoint).map(Confirmed::certain_until)
    }

    fn known(&self, endpoint: &Endpoint) -> Option<&Confirmed> {
        self.confirmed.iter().find(|known| known.endpoint == *endpoint)
    }

    /// Until when the master before was one for certain, if it was left within a time.
    pub fn left_within(&self, time: Duration, now: Instant) -> Option<Instant> {
        self.changed.filter(|changed| now - *changed < time)?;
        let master = self.master.as_ref();
        let mut before = self.confirmed.iter();
        before
            .rfind(|known| Some(&known.endpoint) != master)
            .map(Confirmed::certain_until)
    }
}
