//! Masters that may have keys of slots which the map gives to others, as slots move key by key. They are those that open slots move to, and those
//! without slots, which CLUSTER SLOTS does not name. Asked after all owners, they have what no owner had any more.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::Topology;
use crate::redis::cluster::view::View;
use crate::redis::connection::query::query_node;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::ServerRole;
use crate::redis::slot::Slot;

const CLUSTER_NODES: [&[u8]; 2] = [b"CLUSTER", b"NODES"];

/// How many masters are asked at a time: a reply takes 150 KB in a cluster of a thousand nodes.
const AT_A_TIME: usize = 64;

/// By what masters tell, and until when those without slots may be asked.
pub struct Importers<'a> {
    topology: &'a Topology,
    /// The masters without slots by the map.
    pub slotless: Vec<Endpoint>,
    /// As [`View::open`], of all masters.
    pub open: Vec<(Slot, Option<Endpoint>)>,
    until: Instant,
}

impl<'a> Importers<'a> {
    /// A master tells the open slots of its own alone, so all are asked. Those of one that tells nothing in time count as open. Half of the
    /// time is for those without slots.
    pub async fn of(topology: &'a Topology, map: &SlotMap, longest: Duration) -> Self {
        let begun = Instant::now();
        let mut views = Vec::new();
        for masters in map.masters().chunks(AT_A_TIME) {
            let asked = masters
                .iter()
                .map(|master| (master, topology.ask(master, &CLUSTER_NODES)));
            for (master, reply) in asked.collect::<Vec<_>>() {
                let reply = timeout_at(begun + longest / 2, reply).await;
                views.push(View::of(reply.ok().flatten(), master, map));
            }
        }
        Self::by(views, topology, map, begun + longest)
    }

    /// The same by what one master tells, if that names an importer. What all tell if not: one may hold it for failed.
    pub async fn naming(importer: &str, topology: &'a Topology, map: &SlotMap, longest: Duration) -> Self {
        let begun = Instant::now();
        let mut views = Vec::new();
        for master in map.masters() {
            let reply = topology.ask(master, &CLUSTER_NODES);
            let Ok(reply) = timeout_at(begun + longest / 2, reply).await else {
                break;
            };
            if reply.is_some() {
                views.push(View::of(reply, master, map));
                break;
            }
        }
        let known = Self::by(views, topology, map, begun + longest);
        let targets = known.open.iter().filter_map(|(_, target)| target.as_ref());
        let mut named = known.slotless.iter().chain(targets);
        match named.any(|master| master.to_string() == importer) {
            true => known,
            false => Self::of(topology, map, longest.saturating_sub(begun.elapsed())).await,
        }
    }

    fn by(views: Vec<View>, topology: &'a Topology, map: &SlotMap, until: Instant) -> Self {
        let last_slots = map.last_slots().into_iter();
        let owners: Vec<_> = last_slots.filter_map(|slot| map.owner(slot)).collect();
        let (mut slotless, mut open) = (Vec::new(), Vec::new());
        for view in views {
            let targets = view.open.iter().filter_map(|(_, target)| target.as_ref());
            for master in view.slotless.iter().chain(targets) {
                if !owners.contains(&master) && !slotless.contains(master) {
                    slotless.push(master.clone());
                }
            }
            open.extend(view.open);
        }
        Self {
            topology,
            slotless,
            open,
            until,
        }
    }

    /// The reply of a master without slots, over a connection of its own. None if there is none in time: it may not be reachable from here, or not
    /// know the user. Also none of one that was replaced, whose keys are old, and that others do not know to be a replica yet.
    pub async fn ask(&self, master: &Endpoint, command: &[u8]) -> Option<Bytes> {
        let reply = query_node(self.topology.config(), master, command);
        let (established, reply) = timeout_at(self.until, reply).await.ok()?.ok()?;
        (established.server.role != ServerRole::Replica).then_some(reply)
    }
}
