//! Servers that are named as the master and say that they are replicas.

use std::time::Instant;

use crate::redis::connection::sentinel::board::{Board, KnownSentinel, STABLE};
use crate::redis::endpoint::Endpoint;

impl Board {
    /// The master says that it is a replica, to who has asked it at a moment. Another that a Sentinel names is believed in its place.
    pub fn refuted(&mut self, endpoint: &Endpoint, asked: Instant, now: Instant) {
        let was_named_later = self.changed.is_some_and(|changed| changed > asked);
        if was_named_later || self.master.as_ref() != Some(endpoint) {
            return;
        }
        self.refuted
            .retain(|(other, since)| other != endpoint && now - *since < STABLE);
        self.refuted.push((endpoint.clone(), now));
        let others = self.nodes.iter().filter_map(KnownSentinel::named);
        let others = others.filter(|other| !self.is_refuted(other, now));
        let Some(other) = others.max_by_key(|other| self.votes(other)).cloned() else {
            return;
        };
        let promoting = self.promoting.take();
        self.believe(other, now);
        self.promoting = promoting;
    }

    /// It is the master, as it says itself or as is news.
    pub fn admitted(&mut self, endpoint: &Endpoint) {
        self.refuted.retain(|(other, _)| other != endpoint);
    }

    /// For a while: it may have become the master since, without any change in what the Sentinels name.
    pub fn is_refuted(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let mut refuted = self.refuted.iter();
        refuted.any(|(other, since)| other == endpoint && now - *since < STABLE)
    }

    pub fn is_master_refuted(&self, now: Instant) -> bool {
        self.master
            .as_ref()
            .is_some_and(|master| self.is_refuted(master, now))
    }
}
