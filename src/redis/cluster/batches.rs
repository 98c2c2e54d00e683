//! What is to be sent to each node, in one write.

use std::sync::Arc;

use crate::redis::cluster::node::Node;
use crate::redis::request::Request;

pub struct Batches {
    /// Requests for masters, by master index.
    pub masters: Vec<Vec<Request>>,
    /// Reads for replicas, by master index. None until a replica of the master is looked for.
    readers: Vec<Option<Reads>>,
    /// Requests for other nodes.
    others: Vec<(Arc<Node>, Vec<Request>)>,
}

struct Reads {
    /// None if no replica is ready.
    node: Option<Arc<Node>>,
    requests: Vec<Request>,
}

impl Batches {
    pub fn new(masters: usize) -> Self {
        Self {
            masters: vec![Vec::new(); masters],
            readers: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The requests for a node that need not be a master. They have no order to those for the same node by its index.
    pub fn node(&mut self, node: &Arc<Node>) -> &mut Vec<Request> {
        let known = self
            .others
            .iter()
            .position(|(other, _)| other.number == node.number);
        let index = known.unwrap_or_else(|| {
            self.others.push((node.clone(), Vec::new()));
            self.others.len() - 1
        });
        &mut self.others[index].1
    }

    /// The reads for a replica of a master, which `find` finds for all of them. None if none is ready.
    pub fn reads(
        &mut self,
        master: usize,
        find: impl FnOnce() -> Option<Arc<Node>>,
    ) -> Option<&mut Vec<Request>> {
        if self.readers.is_empty() {
            self.readers.resize_with(self.masters.len(), || None);
        }
        let reads = self.readers[master].get_or_insert_with(|| Reads {
            node: find(),
            requests: Vec::new(),
        });
        reads.node.is_some().then_some(&mut reads.requests)
    }

    /// Each node with its requests.
    pub fn into_nodes(self, masters: &[Arc<Node>]) -> impl Iterator<Item = (Arc<Node>, Vec<Request>)> {
        let masters = masters.iter().cloned().zip(self.masters);
        let readers = self.readers.into_iter().flatten();
        let readers = readers.filter_map(|reads| Some((reads.node?, reads.requests)));
        masters
            .chain(readers)
            .chain(self.others)
            .filter(|(_, requests)| !requests.is_empty())
    }
}
