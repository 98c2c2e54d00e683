//! What the Sentinels of one master say, and which of it is believed. Does no I/O and is told the time.

mod confirmed;
mod named;
mod refuted;

use std::time::{Duration, Instant};

use crate::error::{Error, Reason};
use crate::redis::connection::failure::Failure;
use crate::redis::endpoint::Endpoint;

/// How long a promotion that has begun is looked for.
const PROMOTION: Duration = Duration::from_secs(3);
/// How long the latest change stands against a majority that has not seen it yet: the others hear of it within two seconds.
const STABLE: Duration = Duration::from_secs(5);

/// What one Sentinel says.
#[derive(Debug, Clone)]
pub struct KnownSentinel {
    pub endpoint: Endpoint,
    /// Who it is, once it has said so.
    id: Option<String>,
    /// Only others have named it; None if it is configured.
    named: Option<Named>,
    /// The master that it named last; None within for no master of that name.
    pub says: Option<Option<Endpoint>>,
    /// When it last answered, or could not be asked.
    pub ended: Option<Instant>,
    /// How long its last answer took.
    pub latency: Option<Duration>,
    /// Why it cannot be asked; and whether it would be the same another time.
    pub failure: Option<(Error, bool)>,
}

/// A Sentinel that another one has named.
#[derive(Debug, Clone)]
struct Named {
    /// Who must be there: the address may lead to a stranger from here.
    id: String,
    is_watched: bool,
    /// It does not answer, another Sentinel is there, or it is watched at another address: it does not count.
    is_gone: bool,
}

impl KnownSentinel {
    fn new(endpoint: Endpoint, named: Option<Named>) -> Self {
        Self {
            endpoint,
            id: None,
            named,
            says: None,
            ended: None,
            latency: None,
            failure: None,
        }
    }

    fn is_gone(&self) -> bool {
        self.named.as_ref().is_some_and(|named| named.is_gone)
    }

    /// Whether it can be asked.
    fn is_alive(&self) -> bool {
        self.ended.is_some() && self.failure.is_none() && !self.is_gone()
    }

    fn named(&self) -> Option<&Endpoint> {
        let says = self.says.as_ref();
        let says = says.filter(|_| self.failure.is_none() && !self.is_gone());
        says.and_then(Option::as_ref)
    }
}

/// Where to connect in place of the present master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextMaster {
    /// It is the master.
    Named(Endpoint),
    /// It is being promoted.
    Promoting(Endpoint),
}

/// A server that was believed to be the master, or is.
struct Confirmed {
    endpoint: Endpoint,
    /// When it was first believed to be the master.
    since: Instant,
    /// When a Sentinel was asked last that named it as most did.
    at: Instant,
    /// When the promotion was told of the one that came after it.
    promotion: Option<Instant>,
}

pub struct Board {
    nodes: Vec<KnownSentinel>,
    /// How many there are, as one has told; 0 if none has.
    size: usize,
    master: Option<Endpoint>,
    /// When a Sentinel began to name another master than before.
    changed: Option<Instant>,
    /// Masters, the present one last.
    confirmed: Vec<Confirmed>,
    promoting: Option<(Endpoint, Instant)>,
    /// Servers that were named as the master and said that they are replicas, and when.
    refuted: Vec<(Endpoint, Instant)>,
}

impl Board {
    pub fn new(configured: &[Endpoint]) -> Self {
        let node = |endpoint: &Endpoint| KnownSentinel::new(endpoint.clone(), None);
        Self {
            nodes: configured.iter().map(node).collect(),
            size: 0,
            master: None,
            changed: None,
            confirmed: Vec::new(),
            promoting: None,
            refuted: Vec::new(),
        }
    }

    pub fn nodes(&self) -> impl Iterator<Item = &KnownSentinel> {
        self.nodes.iter().filter(|node| !node.is_gone())
    }

    pub fn master(&self) -> Option<&Endpoint> {
        self.master.as_ref()
    }

    /// How many Sentinels answer.
    pub fn alive(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_alive()).count()
    }

    /// A Sentinel was asked at a moment, and has answered.
    pub fn answered(&mut self, index: usize, says: Option<Endpoint>, asked: Instant, now: Instant) {
        let node = &mut self.nodes[index];
        let is_first = node.failure.is_some();
        // None before, and no change, if it has been told of the master anew: an old configuration may be what it was told.
        let before = node.says.as_ref().and_then(Option::as_ref);
        let has_changed = before.is_some_and(|before| says.as_ref() != Some(before));
        node.says = Some(says.clone());
        node.ended = Some(now);
        node.latency = Some(now - asked);
        node.failure = None;
        let Some(named) = says else { return };
        if has_changed && !is_first {
            self.admitted(&named);
        }
        let is_stable = self.changed.is_none_or(|changed| now - changed >= STABLE);
        if self.master.as_ref() == Some(&named) {
            if self.has_majority(&named) {
                self.confirm(named, asked);
            }
            return;
        }
        // Who names a master that was left, or names it first on a new connection, may have been restarted with an old configuration.
        let is_news = has_changed && !is_first && self.confirmed(&named).is_none();
        let may_change = has_changed || is_stable;
        let is_better = match (self.is_refuted(&named, now), self.is_master_refuted(now)) {
            (true, false) => false,
            (false, true) => true,
            _ => may_change && self.has_more_votes(&named),
        };
        if is_news || self.master.is_none() || is_better {
            self.changed = has_changed.then_some(now).or(self.changed);
            self.believe(named, asked);
        }
    }

    pub fn failed(&mut self, index: usize, failure: Failure, now: Instant) {
        let node = &mut self.nodes[index];
        node.ended = Some(now);
        node.failure = Some((failure.error, failure.refused));
        let is_alone = self.alive() == 0;
        // As long as any answers, it names again who is there.
        if let Some(named) = self.nodes[index].named.as_mut().filter(|_| !is_alone) {
            named.is_gone = true;
        }
    }

    /// A Sentinel has told that there is another master.
    pub fn switched(&mut self, index: usize, master: Endpoint, now: Instant) {
        let node = &mut self.nodes[index];
        let has_named = node.named() == Some(&master);
        node.says = Some(Some(master.clone()));
        // The late end of a failover, if another is believed since.
        if has_named && self.master.is_some() && self.master.as_ref() != Some(&master) {
            return;
        }
        self.changed = Some(now);
        self.admitted(&master);
        self.believe(master, now);
    }

    /// A Sentinel has told a replica to become the master.
    pub fn promoting(&mut self, replica: Endpoint, now: Instant) {
        self.promoting = Some((replica, now));
    }

    /// It says itself that it is the master.
    pub fn promoted(&mut self, replica: Endpoint, now: Instant) {
        self.changed = Some(now);
        self.admitted(&replica);
        self.believe(replica, now);
    }

    fn has_more_votes(&self, named: &Endpoint) -> bool {
        self.votes(named) > self.master.as_ref().map_or(0, |master| self.votes(master))
    }

    /// Whether more than half of all Sentinels name it. One that is cut off with its master, and with us, names that for as long.
    fn has_majority(&self, named: &Endpoint) -> bool {
        self.votes(named) * 2 > self.count(&|node| !node.is_gone()).max(self.size)
    }

    /// So many Sentinels watch the master, as one of them tells: those that cannot be reached are among them.
    pub fn counted(&mut self, sentinels: usize) {
        self.size = sentinels;
    }

    fn votes(&self, named: &Endpoint) -> usize {
        self.count(&|node| node.named() == Some(named))
    }

    /// How many Sentinels are such. One that is watched by two addresses is one.
    fn count(&self, is_such: &dyn Fn(&KnownSentinel) -> bool) -> usize {
        let mut such: Vec<&KnownSentinel> = Vec::new();
        for node in self.nodes.iter().filter(|node| is_such(node)) {
            let is_same = |other: &&KnownSentinel| node.id.is_some() && other.id == node.id;
            if !such.iter().any(is_same) {
                such.push(node);
            }
        }
        such.len()
    }

    /// Where else to connect than to an endpoint; nothing if that is the master.
    pub fn next(&self, from: Option<&Endpoint>, now: Instant) -> Option<NextMaster> {
        if self.master.as_ref() != from {
            return self.master.clone().map(NextMaster::Named);
        }
        let promoting = self.promoting.as_ref();
        let promoting =
            promoting.filter(|(replica, since)| now - *since < PROMOTION && Some(replica) != from);
        promoting.map(|(replica, _)| NextMaster::Promoting(replica.clone()))
    }

    /// The master, once a Sentinel has named it since a moment; an error once all have been asked in vain.
    pub fn outcome(&self, name: &str, since: Instant) -> Option<Result<Endpoint, Failure>> {
        let is_new = |node: &&KnownSentinel| node.ended.is_some_and(|ended| ended >= since);
        let is_named = self.nodes().filter(is_new).any(|node| node.named().is_some());
        if let Some(master) = self.master.as_ref().filter(|_| is_named) {
            return Some(Ok(master.clone()));
        }
        let are_done = self.nodes().all(|node| is_new(&node));
        are_done.then(|| Err(self.failure(name)))
    }

    fn failure(&self, name: &str) -> Failure {
        let why = self.nodes().map(|node| {
            let endpoint = node.endpoint.to_string();
            match &node.failure {
                Some((error, _)) if error.message.contains(&endpoint) => error.message.to_string(),
                Some((error, _)) => format!("{endpoint}: {}", error.message),
                None => format!("{endpoint}: it knows none of this name"),
            }
        });
        let why = why.collect::<Vec<_>>().join("; ");
        let has_answered = self.nodes().any(|node| node.failure.is_none());
        let are_refused = |node: &KnownSentinel| node.failure.as_ref().is_some_and(|(_, refused)| *refused);
        let (reason, what) = match has_answered {
            true => (Reason::UnknownMaster, "No Sentinel knows a master"),
            false => (Reason::NoSentinel, "No Sentinel could be asked for the master"),
        };
        Failure {
            refused: self.nodes().all(are_refused),
            ..Failure::temporary(reason, format!("{what} {name:?}: {why}"))
        }
    }
}

#[cfg(test)]
mod tests;
