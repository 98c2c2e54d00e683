//! The use of a connection for subscriptions: requests of topics, and the messages that come between their answers.
//!
//! [`topics`]: the state of each topic on the server.

pub mod topics;

use std::time::{Instant, SystemTime};

use bytes::{Buf, Bytes, BytesMut};

use crate::error::Error;
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::endpoint::Node;
use crate::redis::pipeline::in_flight::{Established, InFlight, Sent};
use crate::redis::pipeline::subscriptions::topics::{Heard, Priority, Topics};
use crate::redis::pipeline::{Frame, Machine, Pipeline};
use crate::redis::protocol::published::Skipped;
use crate::redis::protocol::scan::Scanner;
use crate::redis::request::{Asker, Fate, Id, Request, Role, Subject, Subscription, Topic};

#[derive(Default)]
pub struct Subscriptions {
    topics: Topics,
}

impl Machine for Subscriptions {
    const ROLE: Role = Role::Subscriptions;

    fn receive(
        pipeline: &mut Pipeline<Self>,
        buffer: &mut BytesMut,
        now: Instant,
        skip: impl Fn(&[u8]) -> Skipped,
    ) -> Result<usize, Error> {
        let mut skipped = 0;
        loop {
            skipped += pipeline.skip(buffer, now, &skip);
            let Some(frame) = pipeline.next_frame(buffer, now)? else {
                return Ok(skipped);
            };
            pipeline.hear(&frame, now);
        }
    }

    /// Messages come between replies, and are no pushes in RESP 2.
    fn frame(_: &[u8], _: usize, _: Option<&Request>) -> Frame {
        Frame::Complete
    }

    fn connected(
        &mut self,
        established: &Established,
        is_first: bool,
        completed: &mut CompletionBatch,
        now: Instant,
    ) -> Vec<Request> {
        if !is_first {
            completed.events.push(Event::Ready {
                role: Self::ROLE,
                node: established.endpoint.to_string().into(),
            });
        }
        let due = self.topics.due();
        due.into_iter()
            .map(|subscription| request(subscription, now))
            .collect()
    }

    fn missing(&mut self, since: SystemTime, node: Option<Node>, completed: &mut CompletionBatch) {
        self.topics.lost(since, node, completed);
    }

    fn doubt(&mut self, from: SystemTime) {
        self.topics.doubt(from);
    }

    fn has_batches(&self) -> bool {
        self.topics.has_batches()
    }

    fn next_batch(&mut self, completed: &mut CompletionBatch, now: Instant) -> Vec<Request> {
        let batch = self.topics.next_batch(completed);
        batch
            .into_iter()
            .map(|subscription| request(subscription, now))
            .collect()
    }

    fn is_obsolete(&self, request: &Request) -> bool {
        matches!(request.subject, Subject::Unsubscription) || self.topics.is_left(request)
    }

    fn failed(&mut self, request: &Request, _: Fate) {
        if let Subject::Subscription(subscription) = &request.subject {
            self.topics.failed(subscription);
        }
    }
}

impl Pipeline<Subscriptions> {
    /// Answers `id` once messages come.
    pub fn subscribe(&mut self, id: Id, topic: Topic, now: Instant) {
        if !self.machine.topics.want(&topic, id) {
            return self.completed.done(id);
        }
        let asker = Asker::Caller(id);
        let request = request(Subscription { topic, asker }, now);
        self.send([request], now);
    }

    /// Keeps a topic subscribed over all connections. Only a refusal of the server ends that, with an event.
    pub fn keep(&mut self, topic: &Topic, priority: Priority, now: Instant) {
        if self.machine.topics.keep(topic, priority) && self.connection.is_some() {
            let due = self.machine.topics.due_now(topic);
            let request = due.map(|subscription| request(subscription, now));
            self.send(request, now);
        }
    }

    /// Whether the server has confirmed the topic.
    pub fn is_live(&self, topic: &Topic) -> bool {
        self.machine.topics.is_live(topic)
    }

    /// Whether the topic is confirmed or desired.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.machine.topics.has(topic)
    }

    pub fn unsubscribe(&mut self, id: Option<Id>, topic: &Topic, now: Instant) {
        self.machine.topics.remove(topic);
        let request = Request {
            subject: Subject::Unsubscription,
            ..Request::repeatable(id, &[topic.kind.unsubscribe(), &topic.name], now)
        };
        if self.connection.is_some() {
            return self.send([request], now);
        }
        // Without a connection the server has no subscription, and waiting requests for the topic are obsolete.
        let left = self
            .waiting
            .take_if(|waiting| self.machine.topics.is_left(&waiting.request));
        for request in left.iter().chain([&request]) {
            self.done(request);
        }
    }

    /// Drops messages for other instances in the receive buffer: they are most of what a fleet publishes.
    fn skip(&mut self, buffer: &mut BytesMut, now: Instant, skip: impl Fn(&[u8]) -> Skipped) -> usize {
        let connection = self.connection.as_mut();
        let Some(connection) = connection.filter(|connection| connection.scanner.is_at_start()) else {
            return 0;
        };
        let Skipped { messages, length } = skip(buffer);
        if messages > 0 {
            (connection.heard, connection.received) = (now, now);
            connection.scanner = Scanner::default();
            buffer.advance(length);
        }
        messages
    }

    fn hear(&mut self, frame: &Bytes, now: Instant) {
        let Heard::Answer(outcome) = self.machine.topics.hear(frame, &mut self.completed) else {
            return;
        };
        let Some(Sent { request, late, .. }) = self.connection.as_mut().and_then(InFlight::pop) else {
            return;
        };
        let subscription = match &request.subject {
            Subject::Subscription(subscription) => Some(subscription),
            _ => None,
        };
        match outcome {
            Ok(()) => {
                let topics = &mut self.machine.topics;
                let wanted = subscription
                    .is_none_or(|subscription| topics.confirmed(subscription, &mut self.completed));
                if !late {
                    self.done(&request);
                }
                // The caller was told of a timeout: the subscription is undone.
                if let (Some(subscription), true, false) = (subscription, late, wanted) {
                    self.unsubscribe(None, &subscription.topic, now);
                }
            }
            Err(error) => {
                if let Some(subscription) = subscription
                    && request.id.is_none()
                    && self.machine.topics.is_wanted(subscription)
                {
                    let (topic, error) = (subscription.topic.clone(), error.clone());
                    self.completed.events.push(Event::Unsubscribed { topic, error });
                }
                if !late {
                    self.fail(&request, Fate::Unknown, error);
                }
            }
        }
        if subscription.is_some() && request.id.is_none() {
            self.machine.topics.answered(&mut self.completed);
        }
    }
}

fn request(subscription: Subscription, now: Instant) -> Request {
    let Subscription { topic, asker } = &subscription;
    let id = match asker {
        Asker::Caller(id) => Some(*id),
        Asker::Pipeline(_) => None,
    };
    let request = Request::repeatable(id, &[topic.kind.subscribe(), &topic.name], now);
    Request {
        subject: Subject::Subscription(Box::new(subscription)),
        ..request
    }
}
