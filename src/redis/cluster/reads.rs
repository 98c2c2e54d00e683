//! How a router sends reads to replicas (`readFrom`). They are in no order to the writes of their slot, as a replica is behind its master, and
//! so wait behind no fence.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Reason};
use crate::redis::cluster::batches::Batches;
use crate::redis::cluster::node::{Node, SILENT};
use crate::redis::cluster::readers::Reader;
use crate::redis::cluster::router::{ClusterRouter, RouterState};
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::config::ReadFrom;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::commands::redirect::{RefusalKind, Returned};
use crate::redis::request::{Fate, Request, Route};
use crate::redis::slot::Slot;

/// How long a replica that has refused a read is left alone.
const REFUSED: Duration = Duration::from_millis(200);
/// How often reads that wait look for a replica, beside when there is news.
const RETRY: Duration = Duration::from_millis(100);
/// How often the map is asked for while reads find no replica in it: one that is back, or was a master, may be missing there.
const ASK: Duration = Duration::from_secs(5);

impl ClusterRouter {
    /// Sends a new request where it goes: what only reads to a replica, if the configuration says so, all else to the master of its slot.
    pub(super) fn dispatch(
        &self,
        state: &mut RouterState,
        mut request: Request,
        slot: Slot,
        batches: &mut Batches,
        now: Instant,
    ) {
        if self.read_from() == ReadFrom::Primary || !request.repeatable {
            return self.put(state, request, slot, batches, now);
        }
        request.route = Route::Slot(slot);
        let master = state.map.as_ref().and_then(|map| map.owner_index(slot));
        let batch = master.and_then(|index| batches.reads(index, || self.reader(state, index, now)));
        match batch {
            Some(batch) => batch.push(request),
            None if self.read_from() == ReadFrom::PreferReplica => {
                self.put(state, request, slot, batches, now);
            }
            None => self.hold_read(state, request, now),
        }
    }

    fn read_from(&self) -> ReadFrom {
        self.config.settings.read_from
    }

    /// The replica of a master that takes this store's reads. Its connection is opened if there is none.
    fn reader(&self, state: &mut RouterState, master: usize, now: Instant) -> Option<Arc<Node>> {
        let map = state.map.clone()?;
        let readers = &mut state.readers;
        // In their order for this store. There are few, and the standard library's sort would add 10 KB of code.
        let mut replicas: Vec<(u64, &Endpoint)> = Vec::new();
        for replica in map.replicas(master) {
            let hash = readers.order.hash_one(replica);
            let place = replicas.partition_point(|(other, _)| *other < hash);
            replicas.insert(place, (hash, replica));
        }
        if replicas.is_empty() && readers.asked.is_none_or(|asked| now >= asked + ASK) {
            readers.asked = Some(now);
            if let Some(topology) = &state.topology {
                topology.want(None);
            }
        }
        // Others are not opened while one is on its way. One that is open already takes the reads meanwhile.
        let mut is_opening = false;
        for (_, replica) in replicas {
            if readers.is_refusing(replica, now) {
                continue;
            }
            let Some(reader) = readers.nodes.get(replica) else {
                if !is_opening {
                    state.last_number += 1;
                    let number = state.last_number;
                    let node =
                        Node::open_reader(number, &self.config, replica, &self.completions, &self.inbox)
                            .ok()?;
                    let reader = Reader { node, refused: None };
                    readers.nodes.insert(replica.clone(), reader);
                    is_opening = true;
                }
                continue;
            };
            let (is_ready, is_passed_over) = reader.node.connection.with(|pipeline| {
                let is_ready = pipeline.is_connected() && pipeline.silence(now) < SILENT;
                (is_ready, pipeline.is_connected() || pipeline.is_reconnecting())
            });
            if is_ready {
                return Some(reader.node.clone());
            }
            is_opening |= !is_passed_over;
        }
        None
    }

    fn hold_read(&self, state: &mut RouterState, request: Request, now: Instant) {
        if !state.has_room(self.limits().max_queue) {
            let map = state.map.as_deref();
            let master = map.and_then(|map| Some(map.replicas(map.owner_index(request.slot()?)?)));
            let node = master.and_then(<[Endpoint]>::first).map(Endpoint::to_string);
            return self.refuse_full(&request, node.as_deref());
        }
        let until = state.deadline(&request, self.limits());
        if state.readers.held.is_empty() {
            state.readers.retry = Some(now + RETRY);
            state.doubt(None);
            self.inbox.come.notify_one();
        }
        state.readers.held.push(request, until);
    }

    /// Has reads that wait look for a replica, if it is time.
    pub(super) fn retry_reads(&self, state: &mut RouterState, now: Instant) {
        if state.readers.retry.is_none_or(|retry| retry > now) {
            return;
        }
        state.readers.retry = None;
        let held = state.readers.held.take_if(|_| true);
        self.read_elsewhere(state, held, now);
    }

    /// Sends reads anew that no replica has answered.
    pub(super) fn read_elsewhere(&self, state: &mut RouterState, requests: Vec<Request>, now: Instant) {
        let mut batches = Batches::new(state.masters.len());
        for mut request in requests {
            request.ready = now.into();
            if let Some(slot) = request.slot() {
                self.reopen_owner(state, slot);
                self.dispatch(state, request, slot, &mut batches, now);
            }
        }
        self.flush(state, batches, now);
    }

    /// A replica has not run these reads.
    pub(super) fn redirect_reads(
        &self,
        state: &mut RouterState,
        replica: &Endpoint,
        returned: Vec<Returned>,
        now: Instant,
    ) {
        state.doubt(None);
        let mut batches = Batches::new(state.masters.len());
        let mut others = Vec::new();
        for Returned { mut request, refusal } in returned {
            let Some(slot) = request.slot() else { continue };
            // Keys of a slot on its way are where its masters say.
            if matches!(refusal.kind, RefusalKind::Ask(_)) || refusal.error.code == "TRYAGAIN" {
                request.ready = now.into();
                self.reopen_owner(state, slot);
                self.put(state, request, slot, &mut batches, now);
                continue;
            }
            if let Some(reader) = state.readers.nodes.get_mut(replica) {
                reader.refused = Some((now + REFUSED, refusal.error));
            }
            others.push(request);
        }
        self.flush(state, batches, now);
        self.read_elsewhere(state, others, now);
    }

    /// A replica was lost, or cannot be connected to: others take what waits for it. It may be retired by now, and still owe replies.
    pub(super) fn reader_lost(&self, state: &mut RouterState, number: u64, now: Instant) {
        state.doubt(None);
        let mut readers = state.readers.nodes.values().map(|reader| &reader.node);
        let reader = readers
            .find(|node| node.number == number)
            .or_else(|| state.retired.get(&number));
        let waiting = reader.map(|node| node.take_waiting(|_| true));
        self.read_elsewhere(state, waiting.unwrap_or_default(), now);
        state.readers.wake(now);
    }

    /// Closes the connections to nodes that are not replicas.
    pub(super) fn close_unused_readers(&self, state: &mut RouterState, map: &SlotMap, now: Instant) {
        let readers = &mut state.readers;
        readers.wake(now);
        let unused: Vec<_> = readers
            .nodes
            .extract_if(|endpoint, _| !map.is_replica(endpoint))
            .collect();
        let mut waiting = Vec::new();
        for (_, reader) in unused {
            waiting.extend(reader.node.take_waiting(|_| true));
            state.retire(reader.node);
        }
        self.read_elsewhere(state, waiting, now);
    }

    /// Fails reads that have waited for too long.
    pub(super) fn expire_reads(&self, state: &mut RouterState, now: Instant) {
        let milliseconds = self.limits().queue_timeout.as_millis();
        while let Some(request) = state.readers.held.pop_due(now) {
            let map = state.map.as_deref();
            let master = map
                .zip(request.slot())
                .and_then(|(map, slot)| map.owner_index(slot));
            let replicas = map
                .zip(master)
                .map_or(&[][..], |(map, master)| map.replicas(master));
            let causes: Vec<_> = replicas
                .iter()
                .map(|replica| format!("{replica}: {}", state.readers.cause(replica)))
                .collect();
            let causes = match (&causes[..], map.zip(master)) {
                ([], Some((map, master))) => format!("{} has none", map.masters()[master]),
                ([], None) => "no master has the slot".to_owned(),
                (causes, _) => causes.join("; "),
            };
            let message = format!(
                "No replica was ready for the read within {milliseconds} ms (queueTimeout; readFrom is \"replica\"), so that the command was not run: {causes}"
            );
            let node = replicas.first().map(Endpoint::to_string);
            let error = Error::because(Reason::NotReady, message).at(node.as_deref(), request.slot());
            self.fail(&request, Fate::NotRun, error);
        }
    }
}
