//! Replicas that a store reads from. Connections to them are others than those to masters, as they begin with READONLY.

use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::error::Error;
use crate::redis::cluster::node::Node;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::queue::Queue;

#[derive(Default)]
pub struct Readers {
    pub nodes: HashMap<Endpoint, Reader>,
    /// Reads that wait for a replica.
    pub held: Queue,
    /// When they look for one next.
    pub retry: Option<Instant>,
    /// When the map was asked for last as a master has no replica in it.
    pub asked: Option<Instant>,
    /// Each store has an order of its own of a master's replicas, and reads from the first that is ready.
    pub order: RandomState,
}

pub struct Reader {
    pub node: Arc<Node>,
    /// It has refused a read: until when it is left alone, and its words.
    pub refused: Option<(Instant, Error)>,
}

impl Readers {
    /// There is news: reads that wait look for a replica at once.
    pub fn wake(&mut self, now: Instant) {
        self.retry = self.retry.map(|_| now);
    }

    /// When reads that wait need the router.
    pub fn next(&self) -> Option<Instant> {
        let deadline = self.held.next_deadline()?;
        Some(self.retry.map_or(deadline, |retry| retry.min(deadline)))
    }

    pub fn is_refusing(&self, replica: &Endpoint, now: Instant) -> bool {
        let refused = self.nodes.get(replica).and_then(|reader| reader.refused.as_ref());
        refused.is_some_and(|(until, _)| *until > now)
    }

    /// Why a replica takes no reads.
    pub fn cause(&self, replica: &Endpoint) -> String {
        let Some(Reader { node, refused }) = self.nodes.get(replica) else {
            return "it was not connected to".to_owned();
        };
        let cause = refused.as_ref().map(|(_, error)| error.clone());
        let cause = cause.or_else(|| node.connection.with(|pipeline| pipeline.health().cause));
        cause.map_or("it does not answer".to_owned(), |cause| cause.message.to_string())
    }
}
