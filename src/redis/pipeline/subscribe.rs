//! Requests of the subscribing connection, and what it receives.

use std::time::Instant;

use bytes::Bytes;

use crate::redis::completions::Event;
use crate::redis::pipeline::Pipeline;
use crate::redis::pipeline::in_flight::{InFlight, Sent};
use crate::redis::pipeline::topics::{Heard, Priority};
use crate::redis::request::{Asker, Fate, Id, Request, Subject, Subscription, Topic};

impl Pipeline {
    /// Answers `id` once messages come.
    pub fn subscribe(&mut self, id: Id, topic: Topic, now: Instant) {
        if !self.topics.want(&topic, id) {
            return self.completed.done(id);
        }
        let asker = Asker::Caller(id);
        let request = self.subscription(Subscription { topic, asker }, now);
        self.send([request], now);
    }

    /// Keeps a topic subscribed over all connections. Only a refusal of the server ends that, with an event.
    pub fn keep(&mut self, topic: &Topic, priority: Priority, now: Instant) {
        if self.topics.keep(topic, priority) && self.connection.is_some() {
            let due = self.topics.due_now(topic);
            let request = due.map(|subscription| self.subscription(subscription, now));
            self.send(request, now);
        }
    }

    /// Whether topics wait for the next batch.
    pub fn has_batches(&self) -> bool {
        self.connection.is_some() && self.topics.has_batches()
    }

    /// Subscribes the next batch of topics.
    pub fn subscribe_batch(&mut self, now: Instant) {
        if self.connection.is_some() {
            let batch = self.topics.next_batch(&mut self.completed);
            let requests: Vec<_> = batch
                .into_iter()
                .map(|subscription| self.subscription(subscription, now))
                .collect();
            self.send(requests, now);
        }
    }

    pub(super) fn subscribe_due(&mut self, now: Instant) -> Vec<Request> {
        let due = self.topics.due();
        due.into_iter()
            .map(|subscription| self.subscription(subscription, now))
            .collect()
    }

    /// Whether the server has confirmed the topic.
    pub fn is_live(&self, topic: &Topic) -> bool {
        self.topics.is_live(topic)
    }

    /// Whether the topic is confirmed or desired.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.topics.has(topic)
    }

    pub fn unsubscribe(&mut self, id: Option<Id>, topic: &Topic, now: Instant) {
        self.topics.remove(topic);
        let request = Request {
            subject: Subject::Unsubscription,
            ..self.request(id, &[topic.kind.unsubscribe(), &topic.name], now)
        };
        if self.connection.is_some() {
            return self.send([request], now);
        }
        // Without a connection the server has no subscription, and waiting requests for the topic are obsolete.
        let left = self
            .waiting
            .take_if(|waiting| self.topics.is_left(&waiting.request));
        for request in left.iter().chain([&request]) {
            self.done(request);
        }
    }

    fn subscription(&self, subscription: Subscription, now: Instant) -> Request {
        let Subscription { topic, asker } = &subscription;
        let id = match asker {
            Asker::Caller(id) => Some(*id),
            Asker::Pipeline(_) => None,
        };
        let request = self.request(id, &[topic.kind.subscribe(), &topic.name], now);
        Request {
            subject: Subject::Subscription(Box::new(subscription)),
            ..request
        }
    }

    pub(super) fn hear(&mut self, frame: &Bytes, now: Instant) {
        let Heard::Answer(outcome) = self.topics.hear(frame, &mut self.completed) else {
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
                let topics = &mut self.topics;
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
                    && self.topics.is_wanted(subscription)
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
            self.topics.answered(&mut self.completed);
        }
    }
}
