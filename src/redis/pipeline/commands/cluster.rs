//! What the router of a cluster asks of a node's pipeline.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashSet;

use crate::redis::pipeline::Pipeline;
use crate::redis::pipeline::commands::Commands;
use crate::redis::pipeline::commands::redirect::Returns;
use crate::redis::request::{Id, Observer, Request, Subject};
use crate::redis::slot::Slot;

impl Pipeline<Commands> {
    /// The server is a node of a cluster: what it has not run goes back to the router.
    pub fn join_cluster(&mut self) {
        self.machine.cluster = Some(Returns::default());
    }

    /// Has `number` come with what goes back once all requests in flight have ended. False if none is.
    pub fn mark(&mut self, number: u64) -> bool {
        let connection = self
            .connection
            .as_ref()
            .filter(|connection| !connection.sent.is_empty());
        let (Some(connection), Some(returns)) = (connection, &mut self.machine.cluster) else {
            return false;
        };
        let position = connection.answered + connection.sent.len() as u64;
        returns.marks.push_back((position, number));
        true
    }

    /// Passes on the marks up to which all requests have ended.
    pub(super) fn pass_marks(&mut self) {
        if let (Some(connection), Some(returns)) = (&self.connection, &mut self.machine.cluster) {
            returns.pass(connection.answered);
        }
    }

    /// Those of these slots of which a request is in flight.
    pub fn slots_in_flight(&self, slots: &HashSet<Slot>) -> HashSet<Slot> {
        let connection = self.connection.as_ref();
        let sent = connection.into_iter().flat_map(|connection| &connection.sent);
        sent.filter_map(|sent| sent.request.slot())
            .filter(|slot| slots.contains(slot))
            .collect()
    }

    /// Whether the connection was lost, or could not be opened, and there is no other yet.
    pub fn is_reconnecting(&self) -> bool {
        self.cause.is_some()
    }

    /// Sends a command whose outcome an observer is told.
    pub fn ask(&mut self, command: &[&[u8]], observer: Arc<dyn Observer>, now: Instant) {
        let request = Request {
            subject: Subject::Observed(Box::new(observer)),
            ..Request::repeatable(None, command, now)
        };
        self.send([request], now);
    }

    /// Removes the request to close.
    pub fn take_closing(&mut self) -> Option<Id> {
        self.closing.take()
    }

    /// Removes the calls of `connect` that wait.
    pub fn take_connecting(&mut self) -> Vec<Id> {
        let waiting = mem::take(&mut self.connecting);
        waiting.into_iter().map(|(id, _)| id).collect()
    }

    /// Removes the requests that wait to be sent and that `leaves` chooses.
    pub fn take_waiting(&mut self, mut leaves: impl FnMut(&Request) -> bool) -> Vec<Request> {
        self.waiting.take_if(|waiting| leaves(&waiting.request))
    }
}
