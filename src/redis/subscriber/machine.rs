//! The use of a connection for subscriptions: requests of topics, and the messages that come between their answers.

use std::mem;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Buf, Bytes, BytesMut};

use crate::backlog::Message;
use crate::error::{Error, Reason, Result};
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::connection::shared::Sink;
use crate::redis::endpoint::EndpointName;
use crate::redis::pipeline::in_flight::Established;
use crate::redis::pipeline::{Machine, Pipeline, ReplyPart};
use crate::redis::protocol::published::Skipped;
use crate::redis::protocol::reply_end::Scanner;
use crate::redis::protocol::{decode, encode};
use crate::redis::request::{Asker, Departure, Id, Request, Role, Subject, Subscription, Topic, TopicKind};
use crate::redis::subscriber::entry::Priority;
use crate::redis::subscriber::listener::{Deliveries, TopicState};
use crate::redis::subscriber::pending::{Pending, Waiter};
use crate::redis::subscriber::table::{Table, Wait};
use crate::reply::Reply;

#[derive(Default)]
pub struct Subscriptions {
    pub table: Table,
    pub(super) pending: Pending,
    pub(super) deliveries: Deliveries,
    /// A gap that has ended. It is told behind the messages.
    pub(super) gap: Option<Gap>,
    /// When the last message came; before the first one, when the connection was opened.
    pub brought: Option<Instant>,
    /// The connection delivers no published messages.
    pub is_deaf: bool,
}

/// A channel that is never subscribed. To unsubscribe it has one answer of its own, whatever state the server is in.
const NEVER: &[u8] = b"covara-kv:never";

/// What a frame is.
enum Heard {
    Message(Message),
    /// A message of a shard channel.
    ShardMessage(Message),
    /// The server has unsubscribed a shard channel, of its own accord or as it was asked to.
    ShardLeft(Bytes),
    /// The answer to the request that was sent first.
    Answer(Result<()>),
    /// A push of a kind that is not used.
    Other,
}

impl Machine for Subscriptions {
    const ROLE: Role = Role::Subscriptions;

    fn receive(pipeline: &mut Pipeline<Self>, buffer: &mut BytesMut, now: Instant) -> Result<usize> {
        let mut skipped = 0;
        loop {
            skipped += pipeline.skip(buffer, now);
            let Some(frame) = pipeline.next_frame(buffer, now)? else {
                return Ok(skipped);
            };
            match heard(&frame) {
                Heard::Message(message) => pipeline.machine.message(message, false, now),
                Heard::ShardMessage(message) => pipeline.machine.message(message, true, now),
                Heard::ShardLeft(name) => pipeline.displaced(&name),
                Heard::Answer(outcome) => pipeline.replied(outcome, now)?,
                Heard::Other => {}
            }
        }
    }

    /// Messages come between replies, and are no pushes in RESP 2.
    fn reply_part(_: &[u8], _: usize, _: Option<&Request>) -> ReplyPart {
        ReplyPart::Complete
    }

    fn connected(
        pipeline: &mut Pipeline<Self>,
        established: &Established,
        is_first: bool,
        now: Instant,
    ) -> Vec<Request> {
        if !is_first {
            pipeline.completed.events.push(Event::Ready {
                role: Self::ROLE,
                node: established.endpoint.to_string().into(),
            });
        }
        pipeline.machine.brought = Some(now);
        requests(pipeline.machine.table.due(now), now)
    }

    fn disconnected(pipeline: &mut Pipeline<Self>, gap_from: SystemTime) {
        let machine = &mut pipeline.machine;
        let brought = machine.brought.filter(|_| mem::take(&mut machine.is_deaf));
        let gap_from = brought.map_or(gap_from, |brought| {
            gap_from.min(SystemTime::now() - brought.elapsed())
        });
        if pipeline.machine.table.lost(gap_from, pipeline.node.clone()) {
            pipeline.trace(|| "a gap has begun");
        }
    }

    fn fault(&self, peer: &str) -> Option<Error> {
        self.is_deaf.then(|| {
            let message = format!("{peer} does not bring what is published");
            Error::because(Reason::Silent, message)
        })
    }

    fn widen_gap(&mut self, from: SystemTime, node: Option<EndpointName>, until: Instant) {
        self.table.widen_gap(from, node, until);
    }

    fn tick(pipeline: &mut Pipeline<Self>, now: Instant) -> Option<Instant> {
        pipeline.end_gap(now);
        pipeline.machine.table.gap_lasts_until(now)
    }

    fn has_batches(&self) -> bool {
        self.table.has_batches()
    }

    fn next_batch(pipeline: &mut Pipeline<Self>, now: Instant) -> Vec<Request> {
        let batch = pipeline.machine.table.next_batch();
        pipeline.end_gap(now);
        requests(batch, now)
    }

    fn is_obsolete(&self, request: &Request) -> bool {
        match &request.subject {
            Subject::Unsubscription | Subject::ShardUnsubscription | Subject::Departure(_) => true,
            // The next connection asks for all that is due.
            Subject::Subscription(of) if matches!(of.asker, Asker::Table(_)) => true,
            _ => self.table.is_left(request),
        }
    }

    fn has_output(&self) -> bool {
        !self.deliveries.is_empty() || self.gap.is_some()
    }
}

impl Subscriptions {
    fn message(&mut self, message: Message, is_of_shard: bool, now: Instant) {
        self.table.message(message, is_of_shard, &mut self.deliveries);
        self.brought = Some(now);
    }

    fn waiter(&self, number: usize, id: Id) -> Option<Waiter> {
        let listener = self.table.listeners.get(&number)?.clone();
        Some(Waiter { number, listener, id })
    }
}

/// The sink of a subscribing connection: gives listeners what has come.
pub struct Delivering;

impl Sink<Subscriptions> for Delivering {
    fn put(&self, batch: CompletionBatch, pipeline: &mut Pipeline<Subscriptions>) {
        pipeline.deliver(batch, Instant::now());
    }
}

/// What listeners ask for.
impl Pipeline<Subscriptions> {
    /// Answers a listener's `id` once messages come.
    pub fn subscribe(&mut self, number: usize, id: Id, topic: &Topic, now: Instant) {
        let Self { machine, .. } = self;
        let Some(waiter) = machine.waiter(number, id) else {
            return;
        };
        match machine.table.subscribe(number, topic) {
            Wait::Nothing => waiter.answer(Ok(())),
            Wait::Request(request) => machine.pending.join(request, waiter),
            Wait::NewRequest => {
                let id = machine.pending.add(Some(topic.clone()), waiter);
                machine.table.requested(topic, id);
                let (topic, asker) = (topic.clone(), Asker::Listeners(id));
                self.send([request(Subscription { topic, asker }, now)], now);
            }
        }
    }

    /// Keeps a topic subscribed until it is unsubscribed, over all connections. Only a refusal of the server ends that, with an event.
    /// `state` is that of the topic from this call on.
    pub fn keep(
        &mut self,
        number: usize,
        topic: &Topic,
        priority: Priority,
        state: Arc<TopicState>,
        now: Instant,
    ) {
        if self.machine.table.keep(number, topic, priority, state) {
            self.subscribe_due(topic, now);
        }
    }

    /// Answers a listener's `id`, if there is one, once it gets no more messages of the topic.
    pub fn unsubscribe(&mut self, number: usize, id: Option<Id>, topic: &Topic, now: Instant) {
        let waiter = id.and_then(|id| self.machine.waiter(number, id));
        let is_left = self.machine.table.unsubscribe(number, topic);
        self.end_gap(now);
        if is_left {
            let request = waiter.map(|waiter| self.machine.pending.add(None, waiter));
            self.send_unsubscribe(request, topic, now);
        } else if let Some(waiter) = waiter {
            waiter.answer(Ok(()));
        }
    }

    /// Publishes an empty message by the same connection, which RESP 3 allows.
    pub fn publish(&mut self, channel: &Topic, now: Instant) {
        self.send([message_by(channel, now)], now);
    }

    /// Publishes an empty message to the channel by which topics cross to another home. At its answer the listener leaves them.
    pub fn begin_departure(&mut self, departure: &Departure, now: Instant) {
        let subject = Subject::Departure(Box::new(departure.clone()));
        let request = message_by(&departure.channel, now);
        self.send([Request { subject, ..request }], now);
    }

    /// Unsubscribes a listener's departing topics, once. Messages that were published before `until` are still the listener's.
    pub fn depart(&mut self, departure: &Departure, until: SystemTime, is_refused: bool, now: Instant) {
        let Some(topics) = departure.topics.lock().take() else {
            return;
        };
        self.machine.deliveries.deliver();
        let since = self.machine.table.complete_until(until);
        for topic in &topics {
            if self.machine.table.depart(departure.listener, topic) {
                self.send_unsubscribe(None, topic, now);
            }
        }
        if let Some(listener) = self.machine.table.listeners.get(&departure.listener) {
            listener.departed(departure, &topics, since, is_refused);
        }
        self.end_gap(now);
    }

    /// Gives the request that is to close the connection, if the last listener leaves.
    pub fn leave(&mut self, number: usize, id: Id, now: Instant) -> Option<Id> {
        let waiter = self.machine.waiter(number, id)?;
        let topics = self.machine.table.topics_of(number);
        let closing = self.machine.table.listeners.len() == 1;
        if !self.is_connected() {
            let error = Error::because(Reason::Disconnected, "The store was disconnected");
            self.machine.pending.fail(number, &error);
        }
        let table = &self.machine.table;
        let last = topics.iter().rposition(|topic| table.has_alone(number, topic));
        for (index, topic) in topics.iter().enumerate() {
            // The server answers in order: the last answer stands for all.
            let asks = !closing && last == Some(index);
            self.unsubscribe(number, asks.then_some(id), topic, now);
        }
        self.machine.table.listeners.remove(&number);
        if closing {
            return Some(self.machine.pending.add(None, waiter));
        }
        if last.is_none() {
            waiter.answer(Ok(()));
        }
        None
    }

    /// True if it was the last listener. False if it had left before.
    pub fn remove(&mut self, number: usize, now: Instant) -> bool {
        for topic in self.machine.table.topics_of(number) {
            self.unsubscribe(number, None, &topic, now);
        }
        let listeners = &mut self.machine.table.listeners;
        listeners.remove(&number).is_some() && listeners.is_empty()
    }
}

impl Pipeline<Subscriptions> {
    /// Subscribes a topic that is due.
    pub(super) fn subscribe_due(&mut self, topic: &Topic, now: Instant) {
        if self.connection.is_some() {
            let due = self.machine.table.due_now(topic);
            self.send(due.map(|subscription| request(subscription, now)), now);
        }
    }

    /// Has the server unsubscribe a topic that nobody listens to.
    pub(super) fn send_unsubscribe(&mut self, id: Option<Id>, topic: &Topic, now: Instant) {
        let mut request = Request {
            subject: Subject::Unsubscription,
            ..Request::repeatable(id, &[topic.kind.unsubscribe(), &topic.name], now)
        };
        if topic.kind == TopicKind::Shard {
            let tail = encode::command(&[b"UNSUBSCRIBE", NEVER]);
            request.bytes = [&request.bytes[..], &tail].concat().into();
            request.subject = Subject::ShardUnsubscription;
        }
        if self.connection.is_some() {
            return self.send([request], now);
        }
        // Without a connection the server has no subscription, and waiting requests for the topic are obsolete.
        let table = &self.machine.table;
        let left = self.waiting.take_if(|waiting| table.is_left(&waiting.request));
        for request in left.iter().chain([&request]) {
            self.done(request);
        }
    }

    /// Drops messages for other instances in the receive buffer: they are most of what a fleet publishes.
    fn skip(&mut self, buffer: &mut BytesMut, now: Instant) -> usize {
        let connection = self.connection.as_mut();
        let Some(connection) = connection.filter(|connection| connection.scanner.is_at_start()) else {
            return 0;
        };
        let Skipped { messages, length } = self.machine.table.skip(buffer);
        if messages > 0 {
            connection.receive(now);
            self.machine.brought = Some(now);
            connection.scanner = Scanner::default();
            buffer.advance(length);
        }
        messages
    }
}

fn requests(subscriptions: Vec<Subscription>, now: Instant) -> Vec<Request> {
    let requests = subscriptions
        .into_iter()
        .map(|subscription| request(subscription, now));
    requests.collect()
}

fn request(subscription: Subscription, now: Instant) -> Request {
    let Subscription { topic, asker } = &subscription;
    let id = match asker {
        Asker::Listeners(id) => Some(*id),
        Asker::Table(_) => None,
    };
    let request = Request::repeatable(id, &[topic.kind.subscribe(), &topic.name], now);
    Request {
        subject: Subject::Subscription(Box::new(subscription)),
        ..request
    }
}

fn message_by(channel: &Topic, now: Instant) -> Request {
    Request::repeatable(None, &[b"PUBLISH", &channel.name, b""], now)
}

fn heard(frame: &Bytes) -> Heard {
    let items = match decode::parse(frame) {
        Ok(Reply::Array(items)) => items,
        Ok(Reply::Error(error)) | Err(error) => return Heard::Answer(Err(error)),
        Ok(_) => return Heard::Answer(Ok(())),
    };
    let mut words = items.iter().map(|item| match item {
        Reply::Bulk(bytes) => frame.slice_ref(bytes),
        _ => Bytes::new(),
    });
    let mut word = || words.next().unwrap_or_default();
    let kind = word();
    let pattern = match &kind[..] {
        b"message" | b"smessage" => None,
        b"pmessage" => Some(word()),
        b"subscribe" | b"psubscribe" | b"ssubscribe" | b"unsubscribe" | b"punsubscribe" | b"pong" => {
            return Heard::Answer(Ok(()));
        }
        b"sunsubscribe" => return Heard::ShardLeft(word()),
        _ => return Heard::Other,
    };
    let message = Message {
        pattern,
        channel: word(),
        payload: word(),
    };
    if &kind[..] == b"smessage" {
        return Heard::ShardMessage(message);
    }
    Heard::Message(message)
}
