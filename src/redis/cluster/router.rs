//! Which node takes a request. Requests of one slot keep their order, whatever becomes of their node.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Runtime;

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::batches::Batches;
use crate::redis::cluster::fence::Fences;
use crate::redis::cluster::join::Join;
use crate::redis::cluster::keys::KeysCall;
use crate::redis::cluster::node::{Node, NodeInbox, RouterGuard, fail};
use crate::redis::cluster::publishing::{Listen, Publishing};
use crate::redis::cluster::readers::Readers;
use crate::redis::cluster::refresh::topology_of;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::Topology;
use crate::redis::completions::CompletionQueue;
use crate::redis::config::{Config, Limits, ReadFrom};
use crate::redis::connection::Connection;
use crate::redis::endpoint::{Endpoint, EndpointName};
use crate::redis::moment::Moment;
use crate::redis::pipeline::commands::Commands;
use crate::redis::pipeline::in_flight::Server;
use crate::redis::pipeline::queue::Queue;
use crate::redis::pipeline::{closed, never_sent};
use crate::redis::request::{Fate, Id, Joining, Part, Request, Route, Split, Subject, Whole};
use crate::redis::runtime;
use crate::redis::slot::{NO_KEY, Slot};

pub struct ClusterRouter {
    pub(super) config: Arc<Config>,
    pub(super) runtime: &'static Runtime,
    pub(super) completions: Arc<CompletionQueue>,
    pub(super) inbox: Arc<NodeInbox>,
    pub(super) listen: Listen,
    /// Locked before any pipeline.
    state: Mutex<RouterState>,
}

pub(super) struct RouterState {
    pub started: bool,
    /// None once the router has ended: without members the map is not asked for.
    pub topology: Option<Arc<Topology>>,
    pub map: Option<Arc<SlotMap>>,
    /// One for each master of the map, in its order.
    pub masters: Vec<Arc<Node>>,
    /// All that requests are sent to, but replicas.
    pub nodes: HashMap<Endpoint, Arc<Node>>,
    /// Those among them that are not masters now, and when they are to close.
    pub unused: HashMap<Endpoint, Instant>,
    /// Those that close once they have answered all, by their numbers.
    pub retired: HashMap<u64, Arc<Node>>,
    pub fences: Fences,
    pub publishing: Publishing,
    pub readers: Readers,
    /// The slots of each mark and of each guard. A guard without slots keeps the router open.
    pub numbers: HashMap<u64, Vec<Slot>>,
    pub last_number: u64,
    /// Requests that wait for the first map.
    pub waiting: Queue,
    /// Calls of `connect`, and how many attempts each has seen fail.
    pub connecting: Vec<(Id, u32)>,
    pub since: Instant,
    /// How many attempts to find the slots have failed, and why the last one has.
    pub attempt: u32,
    pub cause: Option<Error>,
    pub closing: Option<Closing>,
    pub ended: bool,
}

/// The fences of a router: a request waits behind that of its slot first.
pub(super) type FencesOf = fn(&mut RouterState) -> &mut Fences;
pub(super) const OF_SLOTS: FencesOf = |state| &mut state.fences;
pub(super) const OF_MESSAGES: FencesOf = |state| &mut state.publishing.fences;

/// A store that is to be closed.
pub struct Closing {
    pub id: Id,
    /// No request waits for a node any longer.
    pub latest: Instant,
}

impl ClusterRouter {
    /// Opens nothing yet.
    pub fn new(config: Arc<Config>, completions: Arc<CompletionQueue>, listen: Listen) -> Result<Arc<Self>> {
        let topology = topology_of(&config)?;
        let router = Arc::new(Self {
            config,
            runtime: runtime::get()?,
            completions,
            inbox: Arc::default(),
            listen,
            state: Mutex::new(RouterState {
                started: false,
                topology: Some(topology),
                map: None,
                masters: Vec::new(),
                nodes: HashMap::new(),
                unused: HashMap::new(),
                retired: HashMap::new(),
                fences: Fences::default(),
                publishing: Publishing::default(),
                readers: Readers::default(),
                numbers: HashMap::new(),
                last_number: 0,
                waiting: Queue::default(),
                connecting: Vec::new(),
                since: Instant::now(),
                attempt: 0,
                cause: None,
                closing: None,
                ended: false,
            }),
        });
        Ok(router)
    }

    /// Sends requests, in their order for each slot.
    pub fn send(&self, requests: impl IntoIterator<Item = Request>, now: Instant) {
        let mut state = self.state.lock();
        // What a node has refused may be on its way to a fence: later requests of its slot would overtake it.
        self.fence_returned(&mut state, &self.inbox.returned_slots(), now);
        let mut batches = Batches::new(state.masters.len());
        for request in requests {
            self.route(&mut state, request, &mut batches, now);
        }
        self.flush(&state, batches, now);
    }

    pub(super) fn route(
        &self,
        state: &mut RouterState,
        mut request: Request,
        batches: &mut Batches,
        now: Instant,
    ) {
        if state.ended {
            return self.fail(&request, Fate::NotRun, closed(Reason::Disconnected));
        }
        let Some(map) = &state.map else {
            return self.wait_for_map(state, request);
        };
        match mem::replace(&mut request.route, Route::Any) {
            Route::Unknown => self.fail(&request, Fate::NotRun, was_one_server()),
            Route::Any => self.put(state, request, NO_KEY, batches, now),
            Route::Slot(slot) => self.dispatch(state, request, slot, batches, now),
            Route::Crossed(error) => self.fail(&request, Fate::NotRun, *error),
            Route::Split(split) => self.put_parts(state, &request, *split, batches, now),
            Route::Scan(call) => {
                let map = map.clone();
                self.scan(state, request, &call, &map, batches, now);
            }
            Route::Keys => {
                let at_replicas = self.config.settings.read_from != ReadFrom::Primary;
                self.keys(state, request, KeysCall::new(at_replicas), batches, now);
            }
        }
    }

    fn put_parts(
        &self,
        state: &mut RouterState,
        request: &Request,
        split: Split,
        batches: &mut Batches,
        now: Instant,
    ) {
        let parts = split.parts.iter().map(|part| (part.slot, part.places.clone()));
        let observer = match &request.subject {
            Subject::Observed(observer) => Some(Arc::clone(observer)),
            _ => None,
        };
        let is_transaction = split.joining == Joining::Transaction;
        let whole: Arc<dyn Whole> = Arc::new(Join::new(split.joining, parts.collect(), observer));
        for (index, part) in split.parts.into_iter().enumerate() {
            let Part {
                slot,
                bytes,
                replies,
                places,
            } = part;
            let part = Request {
                bytes,
                replies,
                has_one_key: !is_transaction && places.len() == 1,
                subject: Subject::Part(Box::new((whole.clone(), index))),
                ..request.clone()
            };
            self.dispatch(state, part, slot, batches, now);
        }
    }

    /// Adds a request to the batch of its slot's master, unless it has to wait.
    pub(super) fn put(
        &self,
        state: &mut RouterState,
        mut request: Request,
        slot: Slot,
        batches: &mut Batches,
        now: Instant,
    ) {
        request.route = Route::Slot(slot);
        // It may have been answered by ASK before: only behind the fence where it was is it known which node that meant.
        request.asking = false;
        if state.fences.contains(slot) {
            return self.hold(state, request, slot, OF_SLOTS, now);
        }
        match state.map.as_ref().and_then(|map| map.owner_index(slot)) {
            Some(index) if request.publishes && !self.may_publish(state, slot, index) => {
                self.hold(state, request, slot, OF_MESSAGES, now);
            }
            Some(index) => batches.masters[index].push(request),
            None => {
                self.refuse_unserved(state, slot, now);
                self.hold(state, request, slot, OF_SLOTS, now);
            }
        }
    }

    /// Fails a request that cannot wait. `node` is the one that is to take it, where that is known.
    pub(super) fn refuse_full(&self, request: &Request, node: Option<&str>) {
        let most = self.limits().max_queue;
        let message =
            format!("No node of the cluster takes the command, and {most} commands wait already (maxQueue)");
        let error = Error::ours("QUEUE_FULL", message).at(node, request.slot());
        self.fail(request, Fate::NotRun, error);
    }

    fn wait_for_map(&self, state: &mut RouterState, request: Request) {
        if !state.has_room(self.limits().max_queue) {
            return self.refuse_full(&request, None);
        }
        let until = state.deadline(&request, self.limits());
        state.waiting.push(request, until);
        self.inbox.come.notify_one();
    }

    pub(super) fn fail(&self, request: &Request, fate: Fate, error: Error) {
        fail(&self.completions, request, fate, error.at(None, request.slot()));
    }

    /// A guard by which the router learns that what holds it has ended.
    pub(super) fn guard(&self, state: &mut RouterState, number: u64, slots: Vec<Slot>) -> Arc<RouterGuard> {
        state.numbers.insert(number, slots);
        let inbox = self.inbox.clone();
        Arc::new(RouterGuard { number, inbox })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.config.settings.limits
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RouterState> {
        self.state.lock()
    }

    /// Sends the batches, each in one write.
    pub(super) fn flush(&self, state: &RouterState, batches: Batches, now: Instant) {
        for (node, batch) in batches.into_nodes(&state.masters) {
            node.connection.with(|pipeline| pipeline.send(batch, now));
        }
    }

    /// Calls `each` with the connection to every node.
    pub fn each_connection(&self, mut each: impl FnMut(&Arc<Connection<Commands>>)) {
        for node in self.lock().all_nodes() {
            each(&node.connection);
        }
    }

    /// A connection that is open, if there is one.
    pub fn server(&self) -> Option<Server> {
        let state = self.lock();
        let mut nodes = state.masters.iter();
        nodes.find_map(|node| node.connection.with(|pipeline| pipeline.server().cloned()))
    }
}

/// A server has become a node of a cluster.
fn was_one_server() -> Error {
    let message =
        "The server has become a node of a cluster: the command, which was called before, was not run";
    Error::because(Reason::Cluster, message)
}

impl RouterState {
    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Those that are open, also to replicas.
    pub fn all_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        let readers = self.readers.nodes.values().map(|reader| &reader.node);
        self.nodes.values().chain(readers).chain(self.retired.values())
    }

    pub fn has_room(&self, most: usize) -> bool {
        self.waiting.len() + self.readers.held.len() + self.fences.held() + self.publishing.fences.held()
            < most
    }

    /// How long a request may wait for a node that takes it.
    pub fn deadline(&self, request: &Request, limits: &Limits) -> Moment {
        let latest = self.closing.as_ref().map(|closing| closing.latest);
        request.waits_until(limits.queue_timeout, latest)
    }

    /// The error of a request that has waited for too long: the store may be closing. `cause` is told with it.
    pub fn not_run(&self, message: String, cause: &str, now: Instant) -> Error {
        match &self.closing {
            Some(closing) if closing.latest <= now => never_sent(cause),
            _ => Error::because(Reason::QueueTimeout, message + cause),
        }
    }

    /// The node of a number, while it is open.
    pub fn node(&self, number: u64) -> Option<&Arc<Node>> {
        let mut nodes = self.nodes.values();
        nodes
            .find(|node| node.number == number)
            .or_else(|| self.retired.get(&number))
    }

    /// The node that errors name for a slot: the one that has refused it last, else its master.
    pub fn node_to_name(&self, slot: Slot, last: Option<&Error>) -> Option<EndpointName> {
        let owner = || self.map.as_ref().and_then(|map| map.owner(slot));
        let refused = last.and_then(|error| error.node.clone());
        refused.or_else(|| Some(owner()?.to_string().into()))
    }

    /// Has the map asked for: something is wrong with what it says, or with this master.
    pub fn doubt(&self, master: Option<&Endpoint>) {
        if let Some(topology) = &self.topology {
            topology.doubt(master);
        }
    }
}
