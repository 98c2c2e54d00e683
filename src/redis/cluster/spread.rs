//! Requests that go to all masters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Reason};
use crate::redis::cluster::batches::Batches;
use crate::redis::cluster::importers::Importers;
use crate::redis::cluster::keys::{KeysCall, Round, RoundEnd, RoundOutcome};
use crate::redis::cluster::node::{NodeEvent, NodeInbox, fail_event};
use crate::redis::cluster::refresh::{LONGEST_QUESTION, renew};
use crate::redis::cluster::router::{ClusterRouter, RouterState};
use crate::redis::cluster::scan::{Scan, last_page};
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::slots::Slots;
use crate::redis::cluster::topology::Topology;
use crate::redis::completions::{CompletionBatch, CompletionQueue};
use crate::redis::moment::Moment;
use crate::redis::pipeline::closed;
use crate::redis::request::{Fate, Guard, Request, ScanCall, Subject};
use crate::redis::runtime;

impl ClusterRouter {
    /// Sends the next page's request to its master.
    pub(super) fn scan(
        &self,
        state: &mut RouterState,
        request: Request,
        call: &ScanCall,
        map: &SlotMap,
        batches: &mut Batches,
        now: Instant,
    ) {
        let Some(topology) = state.topology.clone() else {
            return;
        };
        match Scan::begin(call, map, &topology) {
            Err(error) => self.fail(&request, Fate::NotRun, error),
            Ok(None) => {
                let completions = self.completions.clone();
                let last_page = last_page(call.clone(), topology, self.limits().timeout);
                let guard = self.open_guard(state);
                runtime::spawn(self.runtime, async move {
                    let mut batch = CompletionBatch::default();
                    batch.conclude(&request, Ok(last_page.await));
                    completions.put(batch);
                    drop(guard);
                });
            }
            Ok(Some((scan, slot, bytes))) => {
                let page = Request {
                    bytes,
                    subject: Subject::Part(Box::new((Arc::new(scan), 0))),
                    ..request
                };
                self.put(state, page, slot, batches, now);
            }
        }
    }

    /// Sends one round of KEYS.
    pub(super) fn keys(
        &self,
        state: &mut RouterState,
        request: Request,
        call: KeysCall,
        batches: &mut Batches,
        now: Instant,
    ) {
        let (Some(map), Some(topology)) = (state.map.clone(), state.topology.clone()) else {
            return self.fail(&request, Fate::NotRun, closed(Reason::Disconnected));
        };
        let slots = map.last_slots();
        let (round, ended) = Round::new(&slots);
        for (index, slot) in slots.into_iter().enumerate() {
            let part = Request {
                subject: Subject::Part(Box::new((round.clone(), index))),
                ..request.clone()
            };
            self.dispatch(state, part, slot, batches, now);
        }
        let rounds = Rounds {
            longest: self.limits().timeout.min(LONGEST_QUESTION),
            until: state.deadline(&request, self.limits()),
            request,
            call,
            map,
            topology,
            inbox: self.inbox.clone(),
            completions: self.completions.clone(),
            _guard: self.open_guard(state),
        };
        runtime::spawn(self.runtime, async move {
            let outcome = ended.await.unwrap_or_else(|_| Err(closed(Reason::Disconnected)));
            rounds.go_on(outcome).await;
        });
    }

    fn open_guard(&self, state: &mut RouterState) -> Arc<dyn Guard> {
        let number = state.next_number();
        self.guard(state, number, Vec::new())
    }
}

/// A call of KEYS whose round is under way.
struct Rounds {
    request: Request,
    call: KeysCall,
    /// The map of this round.
    map: Arc<SlotMap>,
    topology: Arc<Topology>,
    inbox: Arc<NodeInbox>,
    completions: Arc<CompletionQueue>,
    /// How long a question at the end of a round may take.
    longest: Duration,
    /// When the call is given up.
    until: Moment,
    /// Keeps the router open.
    _guard: Arc<dyn Guard>,
}

impl Rounds {
    async fn end(&self) -> RoundEnd {
        let importers = Importers::of(&self.topology, &self.map, self.longest).await;
        let mut open = Slots::new();
        importers.open.iter().for_each(|(slot, _)| open.insert(*slot));
        let mut others = Vec::new();
        for master in &importers.slotless {
            others.extend(importers.ask(master, &self.request.bytes).await);
        }
        others.retain(|reply| reply.first() == Some(&b'*'));
        renew(&self.topology, self.longest).await;
        let map = self.topology.map().unwrap_or_else(|| self.map.clone());
        RoundEnd { others, open, map }
    }

    /// Answers the call, or asks for another round.
    async fn go_on(mut self, outcome: RoundOutcome) {
        let reply = match outcome {
            // An error reply of a master is that of the call.
            Ok(replies) if replies.first() == Some(&b'*') => {
                let end = self.end().await;
                self.call.take(&replies, &self.map, &end).transpose()
            }
            other => Some(other),
        };
        let reply = match reply {
            None if Moment::from(Instant::now()) < self.until => {
                let again = NodeEvent::Keys(Box::new((self.request, self.call)));
                if let Some(back) = self.inbox.put(again) {
                    fail_event(&self.completions, &back);
                }
                return;
            }
            None => Err(slots_move()),
            Some(reply) => reply,
        };
        answer(&self.completions, &self.request, reply);
    }
}

fn answer(completions: &CompletionQueue, request: &Request, outcome: RoundOutcome) {
    let mut batch = CompletionBatch::default();
    batch.conclude(request, outcome);
    completions.put(batch);
}

fn slots_move() -> Error {
    Error::because(
        Reason::QueueTimeout,
        "Slots of the cluster were moving in each round of the command until its time was over (queueTimeout)",
    )
}
