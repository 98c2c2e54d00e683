//! Asks for the map of the slots: over connections that are open, else at the nodes of the configuration, by their names.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::error::{Error, Reason};
use crate::redis::cluster::absence::Absence;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::{ToldMap, Topology};
use crate::redis::config::Config;
use crate::redis::connection::backoff::jitter;
use crate::redis::connection::failure::Failure;
use crate::redis::connection::query::query;
use crate::redis::endpoint::Endpoint;
use crate::redis::protocol::{decode, encode};
use crate::redis::runtime;
use crate::reply::Reply;

/// How long one seed may take before the next is asked beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// The shortest time between two maps, of which jitter takes up to half. It doubles while maps are wanted again and say nothing new.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(1_500);
/// The same as long as no node has told any map.
const LONGEST_WITHOUT_MAP: Duration = Duration::from_secs(2);
/// How long a command that spreads over all masters asks for a new map once they have replied, and again for what they tell of slots that move.
/// Each is also at most `commandTimeout`.
pub const LONGEST_QUESTION: Duration = Duration::from_secs(2);
/// The map is asked for unasked after this time, and half of it with jitter.
const PERIOD: Duration = Duration::from_secs(60);
/// How often nodes are checked for silence.
const CHECK: Duration = Duration::from_millis(500);
/// For how long after a map was wanted nodes may be in trouble.
const TROUBLE: Duration = Duration::from_secs(3);
/// How many nodes are asked when one knows of fewer slots than before.
const WITNESSES: usize = 3;

/// The topology of a configuration, whose map is kept as long as it is used.
pub fn topology_of(config: &Arc<Config>) -> Result<Arc<Topology>, Error> {
    let (topology, is_new) = Topology::of(config)?;
    if is_new {
        runtime::spawn(runtime::get()?, keep(Arc::downgrade(&topology)));
    }
    Ok(topology)
}

/// Has the topology take a map that is no older than this call, unless no node tells it in time.
pub async fn renew(topology: &Topology, longest: Duration) {
    let _ = timeout(longest, try_to_renew(topology)).await;
}

/// While nodes are in trouble it is the map which all wait for.
async fn try_to_renew(topology: &Topology) {
    let known = topology.map().filter(|_| !topology.is_doubted(TROUBLE));
    let Some(known) = known else {
        return topology.refreshed().await;
    };
    let renewal = async {
        if let Some(told) = ask_nodes(topology, &known).await
            && told.map != *known
        {
            topology.take(told);
        }
    };
    topology.renewal.share(renewal).await;
}

async fn keep(topology: Weak<Topology>) {
    let mut pause = Duration::ZERO;
    let mut absence = Absence::default();
    while let Some(strong) = topology.upgrade() {
        let longest = if strong.map().is_some() {
            LONGEST_PAUSE
        } else {
            LONGEST_WITHOUT_MAP
        };
        let longer = (pause * 2).clamp(SHORTEST_PAUSE, longest);
        pause = match refreshed(&strong, &mut absence, longer).await {
            true => SHORTEST_PAUSE,
            false => longer,
        };
        let has_map = strong.map().is_some();
        drop(strong);
        sleep(pause.mul_f64(0.5 + jitter() / 2.0)).await;
        if has_map {
            wait_until_wanted(&topology).await;
        }
    }
}

/// Returns when there is a doubt, as by a master that is silent, or the last map is old.
async fn wait_until_wanted(topology: &Weak<Topology>) {
    let checks = (PERIOD.mul_f64(0.5 + jitter() / 2.0).as_millis() / CHECK.as_millis()) as u32;
    for _ in 0..checks {
        let Some(strong) = topology.upgrade() else { return };
        if timeout(CHECK, strong.wanted()).await.is_ok() {
            return;
        }
        for member in strong.members() {
            let silent = member.silent_masters();
            silent.iter().for_each(|master| strong.want(Some(master)));
        }
    }
}

/// Asks whether the map has changed. After a failure another attempt follows in `delay`.
async fn refreshed(topology: &Topology, absence: &mut Absence, delay: Duration) -> bool {
    let doubts = topology.take_doubts();
    if !doubts.map
        && let Some(known) = topology.map()
        && absence.lasts(topology, &known, &doubts.masters).await
    {
        return false;
    }
    absence.map_asked(doubts.masters);
    topology.asking(ask_for_map(topology, delay)).await
}

/// Asks for a whole map. True if it has changed.
async fn ask_for_map(topology: &Topology, delay: Duration) -> bool {
    let known = topology.map();
    if let Some(known) = &known
        && let Some(told) = ask_nodes(topology, known).await
    {
        let is_news = told.map != **known;
        topology.take(told);
        return is_news;
    }
    match ask_seeds(topology.config()).await {
        Ok(told) => {
            topology.take(told);
            true
        }
        Err(failure) => {
            for member in topology.members() {
                member.not_discovered(&failure.error, failure.refused, delay);
            }
            false
        }
    }
}

const CLUSTER_SLOTS: [&[u8]; 2] = [b"CLUSTER", b"SLOTS"];

/// Asks over open connections. A node that is behind, or knows of fewer slots than before, may have been cut off: others are asked too. The
/// map stays as it is where all of them are behind.
async fn ask_nodes(topology: &Topology, known: &SlotMap) -> Option<ToldMap> {
    let mut best: Option<ToldMap> = None;
    let (mut witnesses, mut are_behind) = (0, false);
    let nodes = known.masters();
    let first = (jitter() * nodes.len() as f64) as usize;
    for index in 0..nodes.len() {
        let node = &nodes[(first + index) % nodes.len()];
        let asked = SystemTime::now();
        let Some(bytes) = topology.ask(node, &CLUSTER_SLOTS).await else {
            continue;
        };
        let map = decode::parse(&bytes)
            .ok()
            .and_then(|reply| SlotMap::parse(&reply, node));
        let Some(map) = map else { continue };
        witnesses += 1;
        let is_behind = topology.is_behind(&map);
        let is_whole = !is_behind && map.covered() >= known.covered();
        if is_behind {
            are_behind = true;
        } else if best
            .as_ref()
            .is_none_or(|best| map.covered() > best.map.covered())
        {
            let teller = Some(node.clone());
            best = Some(ToldMap { map, teller, asked });
        }
        if is_whole || witnesses == WITNESSES {
            break;
        }
    }
    let present = topology.map().filter(|_| are_behind);
    best.or_else(|| present.as_deref().cloned().map(ToldMap::by_unknown))
}

/// Asks the nodes of the configuration: the next one when the last is slow or has failed.
async fn ask_seeds(config: &Arc<Config>) -> Result<ToldMap, Failure> {
    let mut seeds = config.seeds().into_iter();
    let mut asked = JoinSet::new();
    let mut failures = Vec::new();
    let mut begins_next = true;
    loop {
        if begins_next && let Some(seed) = seeds.next() {
            let config = config.clone();
            asked.spawn(async move { (ask_seed(&config, &seed).await, seed) });
        }
        begins_next = tokio::select! {
            answer = asked.join_next() => match answer {
                Some(Ok((Ok(map), _))) => return Ok(ToldMap::by_unknown(map)),
                Some(Ok((Err(failure), seed))) => {
                    failures.push((seed, failure));
                    true
                }
                Some(Err(_)) => true,
                None => return Err(no_map(failures)),
            },
            () = sleep(STAGGER), if seeds.len() > 0 => true,
        };
    }
}

async fn ask_seed(config: &Arc<Config>, seed: &Endpoint) -> Result<SlotMap, Failure> {
    let (_, bytes) = query(config, seed, &encode::command(&CLUSTER_SLOTS)).await?;
    let reply = decode::parse(&bytes).map_err(Failure::refused)?;
    if let Reply::Error(error) = reply {
        if error.code == "NOPERM" {
            return Err(Failure::refused(error.at(Some(&seed.to_string()), None)));
        }
        // `ERR This instance has cluster support disabled`
        let is_no_cluster = error.message.contains("cluster support disabled");
        let message = match is_no_cluster {
            true => format!("{seed} is no node of a cluster: give its address as redis.url or redis.host"),
            false => format!("{seed} does not tell its slots: {}", error.message),
        };
        let failed = Error::because(Reason::Cluster, message).caused_by(error);
        return Err(if is_no_cluster {
            Failure::refused(failed)
        } else {
            Failure::temporary(Reason::NotReady, failed.message.to_string())
        });
    }
    SlotMap::parse(&reply, seed).ok_or_else(|| {
        Failure::temporary(
            Reason::NotReady,
            format!("{seed} knows of no master with slots yet"),
        )
    })
}

/// Each seed with its reason. Refused if all have refused.
fn no_map(failures: Vec<(Endpoint, Failure)>) -> Failure {
    let refused = failures.iter().all(|(_, failure)| failure.refused);
    if refused && let [(_, failure)] = &failures[..] {
        return Failure::refused(failure.error.clone());
    }
    let reason = failures.iter().find_map(|(_, failure)| failure.error.reason);
    let causes: Vec<_> = failures
        .iter()
        .map(|(seed, failure)| (seed, &failure.error))
        .collect();
    let message = format!(
        "no node of the cluster has told its slots: {}",
        with_reasons(&causes)
    );
    Failure {
        refused,
        ..Failure::temporary(reason.unwrap_or(Reason::NotReady), message)
    }
}

/// Nodes, each with the reason why it cannot be used.
pub fn with_reasons(causes: &[(&Endpoint, &Error)]) -> String {
    let reason = |(node, cause): &(&Endpoint, &Error)| {
        let node = node.to_string();
        if cause.message.contains(&node) {
            cause.message.to_string()
        } else {
            format!("{node}: {}", cause.message)
        }
    };
    causes.iter().map(reason).collect::<Vec<_>>().join("; ")
}
