//! A node of the cluster, as one store is connected to it, and what it tells the router.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::keys::KeysCall;
use crate::redis::completions::{CompletionBatch, CompletionQueue, Event};
use crate::redis::config::{Config, Target};
use crate::redis::connection::Connection;
use crate::redis::connection::shared::Sink;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::commands::Commands;
use crate::redis::pipeline::commands::redirect::Returned;
use crate::redis::pipeline::{Pipeline, closed};
use crate::redis::request::{Fate, Guard, Id, Request, Subject};
use crate::redis::slot::Slot;

/// A node that owes replies and has sent nothing for so long may have lost its slots.
pub const SILENT: Duration = Duration::from_secs(1);

/// Answered by a node that has closed: no call has this id.
const CLOSED: Id = Id::MAX;

/// What the router is told. Nodes tell it while their pipelines are locked, so that it must not use them at once.
pub enum NodeEvent {
    /// A node has not run these.
    Returned {
        number: u64,
        endpoint: Endpoint,
        returned: Vec<Returned>,
    },
    /// A mark has passed, or a guard was dropped.
    Ended(u64),
    /// A node was connected to.
    Connected,
    /// The node of this number was lost, or cannot be connected to.
    Lost(u64),
    /// The replica at this endpoint has not run these reads.
    ReadsReturned(Endpoint, Vec<Returned>),
    /// A replica was connected to.
    ReaderReady,
    /// The replica of this number was lost, or cannot be connected to.
    ReaderLost(u64),
    /// The node of this number has closed.
    Closed(u64),
    /// A call of KEYS goes on with another round.
    Keys(Box<(Request, KeysCall)>),
}

/// The slots of requests that nodes have not run, each with its node's number.
pub fn returned_slots(events: &[NodeEvent]) -> Vec<(u64, Slot)> {
    let returned = events.iter().flat_map(|event| match event {
        NodeEvent::Returned { number, returned, .. } => {
            returned.iter().map(|returned| (*number, returned)).collect()
        }
        _ => Vec::new(),
    });
    returned
        .filter_map(|(number, returned)| Some((number, returned.request.slot()?)))
        .collect()
}

pub struct NodeInbox {
    /// A node has been connected to: the store was told so.
    is_ready: AtomicBool,
    /// The numbers of nodes that the store was told are lost, and not that they are there again.
    lost: Mutex<Vec<u64>>,
    /// None once the router has ended.
    events: Mutex<Option<Vec<NodeEvent>>>,
    pub come: Notify,
}

impl Default for NodeInbox {
    fn default() -> Self {
        Self {
            is_ready: AtomicBool::new(false),
            lost: Mutex::default(),
            events: Mutex::new(Some(Vec::new())),
            come: Notify::new(),
        }
    }
}

impl NodeInbox {
    /// Gives the event back once the router has ended.
    pub fn put(&self, event: NodeEvent) -> Option<NodeEvent> {
        match &mut *self.events.lock() {
            Some(events) => events.push(event),
            None => return Some(event),
        }
        self.come.notify_one();
        None
    }

    /// Whether the store was told of a loss, and not that it is over.
    pub fn is_lost(&self) -> bool {
        !self.lost.lock().is_empty()
    }

    /// The same. It has been told from now on.
    pub fn take_lost(&self) -> bool {
        !std::mem::take(&mut *self.lost.lock()).is_empty()
    }

    /// Those of events that the router has not taken yet.
    pub fn returned_slots(&self) -> Vec<(u64, Slot)> {
        self.events
            .lock()
            .as_deref()
            .map(returned_slots)
            .unwrap_or_default()
    }

    pub fn take(&self) -> Vec<NodeEvent> {
        self.events
            .lock()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The router has ended: gives the events that are left.
    pub fn end(&self) -> Vec<NodeEvent> {
        self.events.lock().take().unwrap_or_default()
    }
}

impl std::fmt::Debug for NodeInbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("NodeInbox")
    }
}

/// Tells the router when all requests that hold it have ended.
#[derive(Debug)]
pub struct RouterGuard {
    pub number: u64,
    pub inbox: Arc<NodeInbox>,
}

impl Guard for RouterGuard {}

impl Drop for RouterGuard {
    fn drop(&mut self) {
        self.inbox.put(NodeEvent::Ended(self.number));
    }
}

pub struct Node {
    /// Unique per store; endpoints are reused.
    pub number: u64,
    pub connection: Arc<Connection<Commands>>,
}

impl Node {
    /// Opens the connection.
    pub fn open(
        number: u64,
        config: &Arc<Config>,
        endpoint: &Endpoint,
        completions: &Arc<CompletionQueue>,
        inbox: &Arc<NodeInbox>,
    ) -> Result<Arc<Self>> {
        Self::open_for(Use::All, number, config.clone(), endpoint, completions, inbox)
    }

    /// Opens a connection to a replica, for reads.
    pub fn open_reader(
        number: u64,
        config: &Config,
        endpoint: &Endpoint,
        completions: &Arc<CompletionQueue>,
        inbox: &Arc<NodeInbox>,
    ) -> Result<Arc<Self>> {
        let config = Arc::new(config.of_replica());
        Self::open_for(Use::Reads, number, config, endpoint, completions, inbox)
    }

    fn open_for(
        for_use: Use,
        number: u64,
        config: Arc<Config>,
        endpoint: &Endpoint,
        completions: &Arc<CompletionQueue>,
        inbox: &Arc<NodeInbox>,
    ) -> Result<Arc<Self>> {
        let sink = NodeSink {
            number,
            for_use,
            endpoint: endpoint.clone(),
            completions: completions.clone(),
            inbox: inbox.clone(),
        };
        let connection = Connection::new(config, Target::Node(endpoint.clone()), Arc::new(sink))?;
        connection.with(Pipeline::join_cluster);
        connection.start();
        Ok(Arc::new(Self {
            number,
            connection: Arc::new(connection),
        }))
    }

    /// Removes the requests that wait for the connection and that `leaves` chooses, if it is not open.
    pub fn take_waiting(&self, leaves: impl Fn(&Request) -> bool) -> Vec<Request> {
        self.connection.with(|pipeline| match pipeline.is_connected() {
            true => Vec::new(),
            false => pipeline.take_waiting(leaves),
        })
    }

    /// Closes the connection once all that was asked for is answered, and tells the router.
    pub fn close(&self) {
        self.connection.close(CLOSED);
    }
}

/// What a connection to a node is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    All,
    /// The node is a replica.
    Reads,
}

struct NodeSink {
    number: u64,
    for_use: Use,
    endpoint: Endpoint,
    completions: Arc<CompletionQueue>,
    inbox: Arc<NodeInbox>,
}

impl NodeSink {
    /// The store is ready with its first node, and told of any other once it has been lost and is there again. Of replicas only its health
    /// tells, as their masters serve.
    fn is_told(&self, event: &Event) -> bool {
        match event {
            Event::Ready { .. } if self.for_use == Use::Reads => {
                self.inbox.put(NodeEvent::ReaderReady);
                false
            }
            Event::Reconnecting { .. } if self.for_use == Use::Reads => {
                self.inbox.put(NodeEvent::ReaderLost(self.number));
                false
            }
            Event::Ready { .. } => {
                self.inbox.put(NodeEvent::Connected);
                let was_ready = self.inbox.is_ready.swap(true, Ordering::Relaxed);
                let mut lost = self.inbox.lost.lock();
                let place = lost.iter().position(|number| *number == self.number);
                place.map(|place| lost.remove(place)).is_some() || !was_ready
            }
            Event::Reconnecting { .. } => {
                let mut lost = self.inbox.lost.lock();
                if !lost.contains(&self.number) {
                    lost.push(self.number);
                }
                drop(lost);
                self.inbox.put(NodeEvent::Lost(self.number));
                true
            }
            _ => true,
        }
    }
}

impl Sink<Commands> for NodeSink {
    fn put(&self, mut batch: CompletionBatch, _: &mut Pipeline<Commands>) {
        if batch.answers.pop_if(|last| last.id == CLOSED).is_some() {
            self.inbox.put(NodeEvent::Closed(self.number));
        }
        batch.events.retain(|event| self.is_told(event));
        if !batch.is_empty() {
            self.completions.put(batch);
        }
    }

    fn return_requests(&self, returned: Vec<Returned>, passed: Vec<u64>) {
        if !returned.is_empty() {
            let (number, endpoint) = (self.number, self.endpoint.clone());
            let event = match self.for_use {
                Use::All => NodeEvent::Returned {
                    number,
                    endpoint,
                    returned,
                },
                Use::Reads => NodeEvent::ReadsReturned(endpoint, returned),
            };
            if let Some(event) = self.inbox.put(event) {
                fail_event(&self.completions, &event);
            }
        }
        for number in passed {
            self.inbox.put(NodeEvent::Ended(number));
        }
    }

    fn poll_socket(&self) {
        self.completions.wake();
    }
}

/// Fails a request that no node has in flight.
pub fn fail(completions: &CompletionQueue, request: &Request, fate: Fate, error: Error) {
    if let Subject::Observed(observer) = &request.subject {
        observer.unanswered(fate);
    }
    let mut batch = CompletionBatch::default();
    batch.conclude(request, Err(error));
    completions.put(batch);
}

/// Fails the requests of an event that no router takes: a node has not run them, or they are to go on with another round.
pub fn fail_event(completions: &CompletionQueue, event: &NodeEvent) {
    let disconnected = closed(Reason::Disconnected);
    match event {
        NodeEvent::Returned {
            endpoint, returned, ..
        }
        | NodeEvent::ReadsReturned(endpoint, returned) => {
            for Returned { request, .. } in returned {
                let node = endpoint.to_string();
                let error = disconnected.clone().at(Some(&node), request.slot());
                fail(completions, request, Fate::NotRun, error);
            }
        }
        NodeEvent::Keys(call) => fail(completions, &call.0, Fate::NotRun, disconnected),
        _ => {}
    }
}
