//! The map of a cluster's slots: one for all stores of the process whose configurations are equal.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout_at;

use crate::coalesced::Coalesced;
use crate::error::{Error, Result};
use crate::redis::cluster::confirmed::Confirmed;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::config::Config;
use crate::redis::endpoint::Endpoint;
use crate::redis::runtime;
use crate::redis::slot::Slot;

/// How long a node may take over what it knows of the cluster.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// For how long MOVED counts for more than a map: nodes hear of an election one after the other.
const FRESH: Duration = Duration::from_secs(1);

static TOPOLOGIES: Mutex<Vec<Weak<Topology>>> = Mutex::new(Vec::new());

async fn spread(members: Vec<Weak<dyn TopologyMember>>) {
    for member in members.iter().filter_map(Weak::upgrade) {
        member.apply();
    }
}

/// Uses the map.
pub trait TopologyMember: Send + Sync {
    /// There is another map. It is taken from the topology under the member's lock, as two threads may tell of two maps in any order.
    fn apply(&self);

    /// No node has told its map. Another attempt follows after `delay`, which will fail too if it is `refused`.
    fn not_discovered(&self, cause: &Error, refused: bool, delay: Duration);

    /// Asks a node over a connection that is open; None if there is none. The sender is dropped with the request.
    fn ask(&self, node: &Endpoint, command: &[&[u8]]) -> Option<oneshot::Receiver<Bytes>>;

    /// The masters that have been silent for long, so that they may have lost their slots.
    fn silent_masters(&self) -> Vec<Endpoint>;
}

pub struct Topology {
    config: Arc<Config>,
    runtime: &'static Runtime,
    state: Mutex<TopologyState>,
    /// There are doubts.
    wanted: Notify,
    doubts: Mutex<Doubts>,
    /// When there was the last doubt.
    doubted: Mutex<Option<Instant>>,
    /// How many times a map has begun to be asked for, and the number of the last time that is over.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
    /// Commands that spread over all masters ask for a map beside that.
    pub renewal: Coalesced,
}

/// What the map is to be asked for.
#[derive(Default)]
pub struct Doubts {
    /// A whole map is wanted.
    pub map: bool,
    /// These cannot be reached, and may have lost their slots.
    pub masters: Vec<Endpoint>,
}

/// A map, as a node has told it.
pub struct ToldMap {
    pub map: SlotMap,
    /// The node, if it is known by which name maps have it.
    pub teller: Option<Endpoint>,
    /// When it was asked.
    pub asked: SystemTime,
}

impl ToldMap {
    /// By a node of a name that maps may not have, or by several.
    pub fn by_unknown(map: SlotMap) -> Self {
        Self {
            map,
            teller: None,
            asked: SystemTime::now(),
        }
    }
}

#[derive(Default)]
struct TopologyState {
    map: Option<Arc<SlotMap>>,
    confirmed: Confirmed,
    /// What nodes have said of slots last, and when.
    moved: Vec<(Slot, Endpoint)>,
    moved_at: Option<Instant>,
    members: Vec<Weak<dyn TopologyMember>>,
}

impl Topology {
    /// The topology of a configuration, and whether it is new: then it is to be kept.
    pub fn of(config: &Arc<Config>) -> Result<(Arc<Self>, bool)> {
        let runtime = runtime::get()?;
        let mut topologies = TOPOLOGIES.lock();
        topologies.retain(|topology| topology.strong_count() > 0);
        let mut alive = topologies.iter().filter_map(Weak::upgrade);
        if let Some(same) = alive.find(|topology| topology.config == *config) {
            return Ok((same, false));
        }
        drop(alive);
        let topology = Arc::new(Self {
            config: config.clone(),
            runtime,
            state: Mutex::default(),
            wanted: Notify::new(),
            doubts: Mutex::default(),
            doubted: Mutex::default(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            renewal: Coalesced::default(),
        });
        topologies.push(Arc::downgrade(&topology));
        Ok((topology, true))
    }

    pub fn add(&self, member: Weak<dyn TopologyMember>) {
        self.state.lock().members.push(member);
        if self.map().is_none() {
            self.want(None);
        }
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub fn map(&self) -> Option<Arc<SlotMap>> {
        self.state.lock().map.clone()
    }

    /// Something is wrong: with this master, which cannot be reached, or with what the map says. It is asked for as by `want`.
    pub fn doubt(&self, master: Option<&Endpoint>) {
        *self.doubted.lock() = Some(Instant::now());
        self.want(master);
    }

    /// Has the map asked for. While this master is away, or silent, others may say that nothing has changed in place of that.
    pub fn want(&self, master: Option<&Endpoint>) {
        let mut doubts = self.doubts.lock();
        match master {
            None => doubts.map = true,
            Some(master) if doubts.masters.contains(master) => {}
            Some(master) => doubts.masters.push(master.clone()),
        }
        drop(doubts);
        self.wanted.notify_one();
    }

    pub fn take_doubts(&self) -> Doubts {
        mem::take(&mut self.doubts.lock())
    }

    /// Whether there was a doubt within this time.
    pub fn is_doubted(&self, time: Duration) -> bool {
        self.doubted
            .lock()
            .is_some_and(|doubted| doubted.elapsed() < time)
    }

    /// Asks for the map, and returns once that is over: the map is no older than this call then.
    pub async fn refreshed(&self) {
        // In this order: the doubt would else be taken for a map that has begun before.
        let next = self.begun.load(Ordering::Relaxed) + 1;
        self.want(None);
        // The sender is this topology's own.
        let _ = self.ended.subscribe().wait_for(|number| *number >= next).await;
    }

    /// Counts the work as asking for a map.
    pub async fn asking<T>(&self, work: impl Future<Output = T>) -> T {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let result = work.await;
        self.ended.send_replace(number);
        result
    }

    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Nodes have said that slots belong to others. Gives the map with that.
    pub fn patch(&self, moved: &[(Slot, Endpoint)]) -> Option<Arc<SlotMap>> {
        let mut state = self.state.lock();
        (state.moved, state.moved_at) = (moved.to_vec(), Some(Instant::now()));
        let before = state.map.clone()?;
        if moved
            .iter()
            .all(|(slot, endpoint)| before.owner(*slot) == Some(endpoint))
        {
            return Some(before);
        }
        let map = Arc::new(before.with_moved(moved));
        let now = SystemTime::now();
        state.confirmed.follow(Some(&before), &map, None, now);
        state.map = Some(map.clone());
        // In a task: the caller is a member and holds its own lock, which `apply` takes.
        runtime::spawn(self.runtime, spread(state.members.clone()));
        Some(map)
    }

    /// Whether a map says otherwise of a slot than a node has said a moment ago: the node that gave it is behind.
    pub fn is_behind(&self, map: &SlotMap) -> bool {
        let state = self.state.lock();
        let is_fresh = state.moved_at.is_some_and(|moved| moved.elapsed() < FRESH);
        let mut moved = state.moved.iter();
        is_fresh && moved.any(|(slot, endpoint)| map.owner(*slot) != Some(endpoint))
    }

    /// Takes a map, and has all members use it.
    pub fn take(&self, told: ToldMap) {
        let map = Arc::new(told.map);
        let mut state = self.state.lock();
        let before = state.map.replace(map.clone());
        state
            .confirmed
            .follow(before.as_deref(), &map, told.teller.as_ref(), told.asked);
        drop(state);
        for member in self.members() {
            member.apply();
        }
    }

    /// When another node has last said that a master had its slots. What is subscribed there may have missed messages since.
    pub fn confirmed(&self, master: &Endpoint) -> Option<SystemTime> {
        self.state.lock().confirmed.get(master)
    }

    /// Asks a node at once, over a connection that is open. None if there is none, or no reply in time.
    pub fn ask(&self, node: &Endpoint, command: &[&[u8]]) -> impl Future<Output = Option<Bytes>> + use<> {
        let members = self.members();
        let answer = members.iter().find_map(|member| member.ask(node, command));
        let until = Instant::now() + ANSWER_TIMEOUT;
        async move { timeout_at(until.into(), answer?).await.ok()?.ok() }
    }

    pub fn members(&self) -> Vec<Arc<dyn TopologyMember>> {
        let mut state = self.state.lock();
        state.members.retain(|member| member.strong_count() > 0);
        state.members.iter().filter_map(Weak::upgrade).collect()
    }
}
