//! Masters without slots. One that is getting its first slot key by key has keys, and CLUSTER SLOTS does not name it before it has the slot.
//! They are asked after all other masters: a key on its way there is at one of the two.
//! <https://redis.io/docs/latest/commands/cluster-nodes/>

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::redis::cluster::refresh::{LONGEST_RENEWAL, ask};
use crate::redis::cluster::slot_map::parse_address;
use crate::redis::cluster::topology::Topology;
use crate::redis::connection::query::query_node;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::ServerRole;
use crate::redis::protocol::decode;
use crate::reply::Reply;

const CLUSTER_NODES: [&[u8]; 2] = [b"CLUSTER", b"NODES"];

/// A node with one of these flags cannot be asked, or is no master.
const UNFIT: [&str; 6] = ["slave", "fail", "fail?", "handshake", "noaddr", "noflags"];

/// The masters without slots, and until when they may be asked.
pub struct Slotless<'a> {
    topology: &'a Topology,
    pub masters: Vec<Endpoint>,
    until: Instant,
}

impl<'a> Slotless<'a> {
    /// By what one node knows. None if no node tells in time: the user may lack the right to ask.
    pub async fn of(topology: &'a Topology, longest: Duration) -> Self {
        let until = Instant::now() + longest.min(LONGEST_RENEWAL);
        let masters = timeout_at(until, masters(topology)).await.unwrap_or_default();
        Self {
            topology,
            masters,
            until,
        }
    }

    /// A master's reply, over a connection of its own. None if there is none in time: it may not be reachable from here, or not know the user.
    /// Also none of one that was replaced, whose keys are old, and that others do not know to be a replica yet.
    pub async fn ask(&self, master: &Endpoint, command: &[u8]) -> Option<Bytes> {
        let reply = query_node(self.topology.config(), master, command);
        let (established, reply) = timeout_at(self.until, reply).await.ok()?.ok()?;
        (established.server.role != ServerRole::Replica).then_some(reply)
    }
}

async fn masters(topology: &Topology) -> Vec<Endpoint> {
    let map = topology.map();
    for node in map.iter().flat_map(|map| map.masters()) {
        if let Some(reply) = ask(topology, node, &CLUSTER_NODES).await {
            return match decode::parse(&reply) {
                Ok(Reply::Bulk(text)) => parse(&String::from_utf8_lossy(&text), node),
                _ => Vec::new(),
            };
        }
    }
    Vec::new()
}

/// From the reply to CLUSTER NODES of the node that was `asked`.
fn parse(nodes: &str, asked: &Endpoint) -> Vec<Endpoint> {
    let lines = || nodes.lines().filter_map(Line::parse);
    let Some(teller) = lines().find(|line| line.has_flag("myself")) else {
        return Vec::new();
    };
    let slotless = lines().filter(|line| line.is_fit() && !line.has_slots);
    slotless
        .filter_map(|line| line.endpoint(&teller, asked))
        .collect()
}

struct Line<'a> {
    /// `host:port`, without the port of the bus.
    address: &'a str,
    hostname: &'a str,
    flags: &'a str,
    has_slots: bool,
}

impl<'a> Line<'a> {
    /// As `<id> <ip>:<port>@<bus port>,<hostname> <flags> <master> <ping> <pong> <epoch> <link> <slots>…`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ').skip(1);
        let (place, flags) = (words.next()?, words.next()?);
        let mut names = place.split(',');
        let (address, _) = names.next()?.split_once('@')?;
        Some(Self {
            address,
            hostname: names.next().unwrap_or_default(),
            flags,
            // What is in brackets is on its way.
            has_slots: words
                .skip(5)
                .any(|slots| !slots.is_empty() && !slots.starts_with('[')),
        })
    }

    fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|other| other == flag)
    }

    fn is_fit(&self) -> bool {
        !self.flags.split(',').any(|flag| UNFIT.contains(&flag))
    }

    /// Named as maps name the node that was `asked`, which is the `teller`: by its hostname, by its address, or by the host that was asked.
    fn endpoint(&self, teller: &Line, asked: &Endpoint) -> Option<Endpoint> {
        let (_, port) = self.address.rsplit_once(':')?;
        let Endpoint::Tcp { host, .. } = asked else {
            return None;
        };
        let (ip, _) = teller.address.rsplit_once(':')?;
        match (teller.hostname == host, self.hostname) {
            (true, "") => None,
            (true, hostname) => parse_address(&format!("{hostname}:{port}"), asked),
            (false, _) if ip == host => parse_address(self.address, asked),
            (false, _) => parse_address(&format!("{host}:{port}"), asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0000000000000000000000000000000000000001";

    fn tcp(host: &str, port: u16) -> Endpoint {
        let host = host.to_owned();
        Endpoint::Tcp { host, port }
    }

    fn line(place: &str, flags: &str, slots: &str) -> String {
        format!("{ID} {place} {flags} - 0 1 2 connected{slots}\n")
    }

    #[test]
    fn only_healthy_masters_without_slots_are_given() {
        let mut nodes = line("10.0.0.1:1@11", "myself,master", " 0-99 [7->-0000]");
        nodes += &line("10.0.0.2:2@12,b", "master", "");
        nodes += &line("10.0.0.3:3@13", "master", " [7-<-0000]");
        nodes += &line("10.0.0.4:4@14", "master", " 100");
        for flags in [
            "slave",
            "master,fail",
            "master,fail?",
            "handshake",
            "master,noaddr",
            "noflags",
        ] {
            nodes += &line("10.0.0.5:5@15", flags, "");
        }
        nodes += "\n";
        let given = [tcp("10.0.0.2", 2), tcp("10.0.0.3", 3)];
        assert_eq!(parse(&nodes, &tcp("10.0.0.1", 1)), given);
        for none in [
            "",
            "x",
            "cluster_state:ok\r\n",
            "a b c d e f g h",
            "a :@ myself h\na :@ master",
        ] {
            assert_eq!(parse(none, &tcp("a", 1)), [], "{none:?}");
        }
    }

    #[test]
    fn a_master_is_named_as_the_node_that_was_asked() {
        let mut nodes = line("fd00::1:1@11,a.example", "myself,master", " 0-16383");
        nodes += &line("fd00::2:2@12,b.example", "master", "");
        nodes += &line("fd00::3:3@13", "master", "");
        let named = |host| parse(&nodes, &tcp(host, 1));
        assert_eq!(named("fd00::1"), [tcp("fd00::2", 2), tcp("fd00::3", 3)]);
        // One without a hostname is not known there.
        assert_eq!(named("a.example"), [tcp("b.example", 2)]);
        // Nodes tell no host.
        assert_eq!(named("balancer"), [tcp("balancer", 2), tcp("balancer", 3)]);
    }
}
