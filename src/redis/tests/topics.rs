mod gaps;
mod handovers;

use std::ops::{Deref, DerefMut};

use super::*;
use crate::redis::completions::{CompletionBatch, Gap};
use crate::redis::protocol::published::{Skipped, skip};
use crate::redis::request::{Topic, TopicKind};
use crate::redis::subscriber::entry::Priority;
use crate::redis::subscriber::listener::Listener;

fn channel(name: &str) -> Topic {
    Topic::new(TopicKind::Channel, name.to_owned().into())
}

fn pattern(name: &'static str) -> Topic {
    Topic::new(TopicKind::Pattern, name.into())
}

pub(super) fn push(words: &[&str]) -> String {
    sent(&[words]).replacen('*', ">", 1)
}

/// A listener that keeps all that it gets.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Mutex<CompletionBatch>);

impl Listener for Recorder {
    fn put(&self, batch: CompletionBatch) {
        let mut came = self.0.lock();
        came.answers.extend(batch.answers);
        came.events.extend(batch.events);
        came.backlog.append(batch.backlog);
        came.gap = batch.gap.or(came.gap.take());
    }

    fn skip(&self, _: &[u8], received: &[u8]) -> Skipped {
        skip(received, |message| message.payload == b"unwanted")
    }
}

/// A subscriber with one listener.
pub(super) struct Subscriber {
    harness: Harness<Subscriptions>,
    pub(super) recorder: Arc<Recorder>,
}

impl Deref for Subscriber {
    type Target = Harness<Subscriptions>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl DerefMut for Subscriber {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

impl Subscriber {
    fn new() -> Self {
        let mut harness = Harness::<Subscriptions>::new();
        let recorder = Arc::<Recorder>::default();
        let listeners = &mut harness.pipeline.machine.table.listeners;
        listeners.insert(0, recorder.clone());
        Self { harness, recorder }
    }

    pub(super) fn connected() -> Self {
        let mut subscriber = Self::new();
        subscriber.connect();
        subscriber
    }

    fn connect(&mut self) {
        self.harness.connect(usize::MAX, ServerRole::Master);
        self.deliver();
    }

    pub(super) fn lose(&mut self) {
        self.harness.lose();
        self.deliver();
    }

    pub(super) fn receive(&mut self, text: &str) -> Result<(), Error> {
        let received = self.harness.receive(text);
        self.deliver();
        received
    }

    fn tick(&mut self) -> Result<Instant, Error> {
        let now = self.now;
        let next = self.pipeline.tick(now);
        self.deliver();
        next
    }

    fn subscribe(&mut self, id: Id, name: &str) {
        self.subscribe_to(id, &channel(name));
    }

    fn subscribe_to(&mut self, id: Id, topic: &Topic) {
        let now = self.now;
        self.pipeline.subscribe(0, id, topic, now);
        self.deliver();
    }

    fn unsubscribe(&mut self, id: Option<Id>, name: &str) {
        let now = self.now;
        self.pipeline.unsubscribe(0, id, &channel(name), now);
        self.deliver();
    }

    fn keep_batched(&mut self, name: &str) {
        let now = self.now;
        self.pipeline
            .keep(0, &channel(name), Priority::Batched, Arc::default(), now);
        self.deliver();
    }

    fn send_batch(&mut self) {
        let now = self.now;
        self.pipeline.send_batch(now);
        self.deliver();
    }

    pub(super) fn answers(&mut self) -> Vec<(Id, String)> {
        texts(std::mem::take(&mut self.recorder.0.lock().answers))
    }

    pub(super) fn gap(&self) -> Option<Gap> {
        self.recorder.0.lock().gap.clone()
    }

    pub(super) fn heard(&mut self) -> Vec<String> {
        let (messages, _) = std::mem::take(&mut self.recorder.0.lock().backlog).into_parts();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        messages
            .into_iter()
            .map(|message| {
                let pattern = message
                    .pattern
                    .map(|pattern| text(pattern) + " ")
                    .unwrap_or_default();
                format!("{pattern}{} {}", text(message.channel), text(message.payload))
            })
            .collect()
    }
}

#[test]
fn messages_come_between_confirmations_in_both_protocols() {
    for form in [push, |words: &[&str]| sent(&[words])] {
        let mut harness = Subscriber::connected();
        harness.subscribe(1, "a");
        harness.subscribe_to(2, &pattern("b*"));
        assert_eq!(
            harness.written(),
            sent(&[&["SUBSCRIBE", "a"], &["PSUBSCRIBE", "b*"]])
        );
        let came = [
            form(&["subscribe", "a", "1"]),
            form(&["message", "a", "x"]),
            form(&["psubscribe", "b*", "2"]),
            form(&["pmessage", "b*", "b1", "y"]),
        ];
        harness.receive(&came.concat()).unwrap();
        assert_eq!(harness.answers(), answers(&[(1, "_\r\n"), (2, "_\r\n")]));
        assert_eq!(harness.heard(), ["a x", "b* b1 y"]);
    }
}

/// Most messages of a fleet are for other instances, and are dropped before they are read whole.
#[test]
fn what_nobody_wants_is_skipped_wherever_what_was_received_ends() {
    let came = [
        push(&["message", "a", "unwanted"]),
        push(&["subscribe", "a", "1"]),
        push(&["psubscribe", "b*", "2"]),
        push(&["message", "a", "unwanted"]),
        push(&["message", "a", "unwanted"]),
        push(&["message", "a", "x"]),
        push(&["pmessage", "b*", "b1", "unwanted"]),
        push(&["message", "a", "y"]),
        push(&["message", "a", "unwanted"]),
    ];
    let came = came.concat();
    for size in 1..=came.len() {
        let mut harness = Subscriber::connected();
        harness.subscribe(1, "a");
        harness.subscribe_to(2, &pattern("b*"));
        for piece in came.as_bytes().chunks(size) {
            harness.receive(std::str::from_utf8(piece).unwrap()).unwrap();
        }
        assert_eq!(
            harness.answers(),
            answers(&[(1, "_\r\n"), (2, "_\r\n")]),
            "{size}"
        );
        let (unwanted, heard): (Vec<_>, _) =
            harness.heard().into_iter().partition(|text| text == "a unwanted");
        assert_eq!(heard, ["a x", "b* b1 unwanted", "a y"], "{size}");
        // A message that is received in parts is dropped later, where it is routed.
        assert!(size < came.len() || unwanted.is_empty(), "{unwanted:?}");
        assert!(harness.buffer.is_empty());
    }
}

#[test]
fn a_refused_subscription_leaves_nothing_behind() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.subscribe(2, "b");
    harness
        .receive(&("-NOPERM no\r\n".to_owned() + &push(&["subscribe", "b", "1"])))
        .unwrap();
    assert_eq!(harness.answers(), answers(&[(1, "NOPERM"), (2, "_\r\n")]));
    harness.written();
    harness.lose();
    harness.connect();
    assert_eq!(harness.written(), sent(&[&["SUBSCRIBE", "b"]]));
}

#[test]
fn a_subscription_that_nobody_waited_for_is_taken_back() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.pass(TIMEOUT);
    assert!(harness.tick().is_err());
    assert_eq!(harness.answers(), answers(&[(1, "TIMEOUT")]));
    harness.written();
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    assert_eq!(harness.written(), sent(&[&["UNSUBSCRIBE", "a"]]));
    harness.receive(&push(&["message", "a", "x"])).unwrap();
    assert_eq!(harness.heard(), [""; 0]);
}

#[test]
fn leaving_needs_no_connection() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.unsubscribe(Some(2), "a");
    harness.lose();
    harness.unsubscribe(Some(3), "a");
    assert_eq!(
        harness.answers(),
        answers(&[(1, "_\r\n"), (2, "_\r\n"), (3, "_\r\n")])
    );
}

/// Messages of a subscription that has ended go to a later one of the same name.
#[test]
fn what_comes_before_a_confirmation_is_for_nobody() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.unsubscribe(Some(2), "a");
    harness.subscribe(3, "a");
    let came = [
        push(&["message", "a", "old"]),
        push(&["unsubscribe", "a", "0"]),
        push(&["subscribe", "a", "1"]),
        push(&["message", "a", "new"]),
    ];
    harness.receive(&came.concat()).unwrap();
    assert_eq!(harness.heard(), ["a new"]);
}

/// A subscription is left and made anew while the first request is in flight. The failure of the first request must not end the new one
/// too.
#[test]
fn a_failure_takes_nothing_from_a_later_request() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.unsubscribe(Some(2), "a");
    harness.pass(TIMEOUT / 2);
    harness.subscribe(3, "a");
    harness.receive(">1\r\n+alive\r\n").unwrap();
    harness.pass(TIMEOUT / 2);
    harness.tick().unwrap();
    assert_eq!(harness.answers(), answers(&[(1, "TIMEOUT"), (2, "TIMEOUT")]));
    let came = [
        push(&["subscribe", "a", "1"]),
        push(&["unsubscribe", "a", "0"]),
        push(&["subscribe", "a", "1"]),
        push(&["message", "a", "x"]),
    ];
    harness.receive(&came.concat()).unwrap();
    assert_eq!(harness.answers(), answers(&[(3, "_\r\n")]));
    assert_eq!(harness.heard(), ["a x"]);
}
