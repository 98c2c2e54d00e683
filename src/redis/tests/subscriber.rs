mod crossings;
mod departures;
mod displaced;

use std::time::SystemTime;

use hashbrown::HashSet;

use super::*;
use crate::error::Reason;
use crate::redis::completions::{CompletionBatch, Event};
use crate::redis::protocol::published::{Skipped, skip};
use crate::redis::request::{Departure, Topic, TopicKind};
use crate::redis::subscriber::entry::Priority;
use crate::redis::subscriber::listener::{Kept, Listener, TopicState};
use crate::redis::subscriber::places::take_out;

/// A listener that writes down all that it is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn said(&self, text: impl Into<String>) {
        self.0.lock().push(text.into());
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Listener for Recorder {
    fn put(&self, batch: CompletionBatch) {
        for event in batch.events {
            if let Event::Unsubscribed { error, .. } = event {
                self.said(format!("unsubscribed {}", error.code));
            }
        }
        for message in batch.backlog.into_parts().0 {
            self.said(String::from_utf8_lossy(&message.payload));
        }
        for answer in batch.answers {
            let outcome = answer
                .outcome
                .map_or_else(|error| error.code.to_string(), |_| "done".to_owned());
            self.said(format!("{} {outcome}", answer.id));
        }
        if batch.gap.is_some() {
            self.said("gap");
        }
    }

    fn skip(&self, channel: &[u8], received: &[u8]) -> Skipped {
        skip(received, |message| {
            message.channel == channel && message.payload == b"-"
        })
    }

    fn subscribed(&self, _: &Topic) {
        self.said("subscribed");
    }

    fn departed(&self, _: &Departure, _: &HashSet<Topic>, since: SystemTime, is_refused: bool) {
        let ago = since.elapsed().unwrap_or_default().as_secs();
        let refused = if is_refused { ", refused" } else { "" };
        self.said(format!("departed {ago} s ago{refused}"));
    }

    fn displaced(&self) {
        self.said("displaced");
    }

    fn gap_began(&self) {
        self.said("gap began");
    }
}

/// A subscriber with the listeners 0, 1 and 2.
struct SharedSubscriber {
    harness: Harness<Subscriptions>,
    recorders: [Arc<Recorder>; 3],
}

impl SharedSubscriber {
    fn new() -> Self {
        let mut subscriber = Self {
            harness: Harness::<Subscriptions>::connected(),
            recorders: Default::default(),
        };
        for (number, recorder) in subscriber.recorders.iter().enumerate() {
            let listeners = &mut subscriber.harness.pipeline.machine.table.listeners;
            listeners.insert(number, recorder.clone());
        }
        subscriber
    }

    fn with(&mut self, work: impl FnOnce(&mut Pipeline<Subscriptions>, Instant)) -> String {
        let now = self.harness.now;
        work(&mut self.harness.pipeline, now);
        self.harness.deliver();
        self.harness.written()
    }

    fn receive(&mut self, words: &[&str]) {
        let text = sent(&[words]).replacen('*', ">", 1);
        self.harness.receive(&text).unwrap();
        self.harness.deliver();
    }

    fn lose(&mut self) {
        self.harness.lose();
        self.harness.deliver();
    }

    fn connect(&mut self) -> String {
        self.harness.connect(usize::MAX, ServerRole::Master);
        self.harness.deliver();
        self.harness.written()
    }

    fn heard(&self) -> [Vec<String>; 3] {
        [0, 1, 2].map(|number: usize| self.recorders[number].heard())
    }
}

fn news() -> Topic {
    Topic::new(TopicKind::Channel, "news".into())
}

fn heard(expected: [&[&str]; 3]) -> [Vec<String>; 3] {
    expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn one_subscription_serves_all_members() {
    let mut subscriber = SharedSubscriber::new();
    let subscribe = sent(&[&["SUBSCRIBE", "news"]]);
    assert_eq!(
        subscriber.with(|pipeline, now| pipeline.subscribe(0, 7, &news(), now)),
        subscribe
    );
    assert_eq!(
        subscriber.with(|pipeline, now| pipeline.subscribe(1, 7, &news(), now)),
        ""
    );
    assert_eq!(subscriber.heard(), heard([&[], &[], &[]]));
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(
        subscriber.with(|pipeline, now| pipeline.subscribe(2, 8, &news(), now)),
        ""
    );
    subscriber.receive(&["message", "news", "a"]);
    assert_eq!(
        subscriber.heard(),
        heard([&["7 done", "a"], &["7 done", "a"], &["8 done", "a"]])
    );

    for number in [0, 1] {
        assert_eq!(
            subscriber.with(|pipeline, now| pipeline.unsubscribe(number, Some(9), &news(), now)),
            ""
        );
    }
    subscriber.receive(&["message", "news", "b"]);
    assert_eq!(subscriber.heard(), heard([&["9 done"], &["9 done"], &["b"]]));
    let unsubscribe = sent(&[&["UNSUBSCRIBE", "news"]]);
    assert_eq!(
        subscriber.with(|pipeline, now| pipeline.unsubscribe(2, Some(9), &news(), now)),
        unsubscribe
    );
    subscriber.receive(&["unsubscribe", "news", "0"]);
    assert_eq!(subscriber.heard(), heard([&[], &[], &["9 done"]]));
}

#[test]
fn what_the_only_listener_does_not_want_is_skipped() {
    let mut subscriber = SharedSubscriber::new();
    subscriber.with(|pipeline, now| pipeline.subscribe(0, 7, &news(), now));
    let message = |channel, text| sent(&[&["message", channel, text]]).replacen('*', ">", 1);
    let received = [
        message("news", "-"),
        message("news", "-"),
        message("news", "a"),
        message("news", "-"),
    ];
    let received = received.concat();
    let skipped = Skipped {
        messages: 2,
        length: 2 * message("news", "-").len(),
    };
    assert_eq!(
        subscriber
            .harness
            .pipeline
            .machine
            .table
            .skip(received.as_bytes()),
        skipped
    );
    assert_eq!(
        subscriber
            .harness
            .pipeline
            .machine
            .table
            .skip(message("other", "-").as_bytes()),
        Skipped::default()
    );
    subscriber.with(|pipeline, now| pipeline.subscribe(1, 8, &news(), now));
    assert_eq!(
        subscriber
            .harness
            .pipeline
            .machine
            .table
            .skip(received.as_bytes()),
        Skipped::default()
    );
}

#[test]
fn a_gap_is_told_to_those_who_may_have_missed_something() {
    let mut subscriber = SharedSubscriber::new();
    subscriber.with(|pipeline, now| pipeline.subscribe(0, 1, &news(), now));
    subscriber.receive(&["subscribe", "news", "1"]);
    subscriber.lose();
    subscriber.with(|pipeline, now| pipeline.subscribe(1, 1, &news(), now));
    assert_eq!(subscriber.heard(), heard([&["1 done", "gap began"], &[], &[]]));
    // One for the lost subscription, one for the new request.
    assert_eq!(
        subscriber.connect(),
        sent(&[&["SUBSCRIBE", "news"], &["SUBSCRIBE", "news"]])
    );
    subscriber.receive(&["subscribe", "news", "1"]);
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(subscriber.heard(), heard([&["gap"], &["1 done"], &[]]));
}

#[test]
fn what_is_kept_outlives_requests_and_connections() {
    let mut subscriber = SharedSubscriber::new();
    subscriber.with(|pipeline, now| pipeline.subscribe(0, 1, &news(), now));
    // A request is in flight already, so none is sent.
    assert_eq!(
        subscriber.with(|pipeline, now| pipeline.keep(1, &news(), Priority::First, Arc::default(), now)),
        ""
    );
    subscriber.harness.receive("-LOADING not yet\r\n").unwrap();
    subscriber.harness.deliver();
    assert_eq!(subscriber.harness.written(), sent(&[&["SUBSCRIBE", "news"]]));
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(subscriber.heard(), heard([&["1 LOADING"], &["subscribed"], &[]]));
    subscriber.lose();
    subscriber.connect();
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(
        subscriber.heard(),
        heard([&[], &["gap began", "subscribed", "gap"], &[]])
    );
}

#[test]
fn what_is_kept_and_was_never_subscribed_is_missed_too_once_an_attempt_has_failed() {
    let mut subscriber = SharedSubscriber::new();
    subscriber.lose();
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber
        .harness
        .pipeline
        .not_connected(&Error::ours("CONNECTION", "refused"), false);
    subscriber.harness.deliver();
    subscriber.connect();
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(
        subscriber.heard(),
        heard([&["gap began", "subscribed", "gap"], &[], &[]])
    );
}

/// A fan-out that keeps a state of its own for each channel, beside the pipeline's and the routing table's, differs from them.
#[test]
fn the_state_of_what_is_kept_is_for_all_to_read() {
    let mut subscriber = SharedSubscriber::new();
    let state = Arc::<TopicState>::default();
    let keep = |subscriber: &mut SharedSubscriber| {
        let own = state.clone();
        subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, own, now));
    };
    keep(&mut subscriber);
    assert_eq!(state.get(), Kept::Requested);
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(state.get(), Kept::Live);
    subscriber.lose();
    assert_eq!(state.get(), Kept::Interrupted);
    subscriber.connect();
    assert_eq!(state.get(), Kept::Interrupted);
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(state.get(), Kept::Live);
    subscriber.lose();
    subscriber.connect();
    subscriber.harness.receive("-NOPERM no\r\n").unwrap();
    subscriber.harness.deliver();
    assert_eq!(state.get(), Kept::Refused(Error::reply("NOPERM no")));
    // A topic that is live for another listener is live at once.
    subscriber.with(|pipeline, now| pipeline.subscribe(1, 1, &news(), now));
    subscriber.receive(&["subscribe", "news", "1"]);
    keep(&mut subscriber);
    assert_eq!(state.get(), Kept::Live);
}

/// The confirmation of an earlier request is taken for that of the last one.
#[test]
fn each_confirmation_is_that_of_its_own_request() {
    let mut subscriber = SharedSubscriber::new();
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber.with(|pipeline, now| pipeline.unsubscribe(0, None, &news(), now));
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber.receive(&["subscribe", "news", "1"]);
    subscriber.receive(&["unsubscribe", "news", "0"]);
    assert_eq!(subscriber.heard(), heard([&[], &[], &[]]));
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(subscriber.heard(), heard([&["subscribed"], &[], &[]]));
}

#[test]
fn a_refusal_ends_it_for_all() {
    let mut subscriber = SharedSubscriber::new();
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber.with(|pipeline, now| pipeline.subscribe(1, 1, &news(), now));
    for _ in 0..2 {
        subscriber.harness.receive("-NOPERM no\r\n").unwrap();
        subscriber.harness.deliver();
    }
    assert_eq!(subscriber.heard()[0], ["unsubscribed NOPERM"]);
    subscriber.lose();
    assert_eq!(subscriber.connect(), "");
}

#[test]
fn a_member_that_leaves_takes_only_its_own_along() {
    let mut subscriber = SharedSubscriber::new();
    let other = Topic::new(TopicKind::Channel, "other".into());
    for (number, topic) in [(0, &news()), (1, &news()), (0, &other)] {
        subscriber.with(|pipeline, now| pipeline.subscribe(number, 1, topic, now));
        subscriber.receive(&["subscribe", std::str::from_utf8(&topic.name).unwrap(), "1"]);
    }
    subscriber.heard();
    let written = subscriber.with(|pipeline, now| assert_eq!(pipeline.leave(0, 5, now), None));
    assert_eq!(written, sent(&[&["UNSUBSCRIBE", "other"]]));
    subscriber.receive(&["message", "news", "a"]);
    subscriber.receive(&["unsubscribe", "other", "1"]);
    let [left, stayed, _] = subscriber.heard();
    assert_eq!(
        (left.last().map(String::as_str), stayed),
        (Some("5 done"), vec!["a".to_owned()])
    );
}

/// The answer to who leaves came with a topic that others have. What it alone had was still subscribed then.
#[test]
fn a_member_has_left_once_its_own_is_unsubscribed() {
    let mut subscriber = SharedSubscriber::new();
    let mut keep = |number: usize, name: &'static str| {
        let topic = Topic::new(TopicKind::Channel, name.into());
        subscriber.with(|pipeline, now| pipeline.keep(number, &topic, Priority::First, Arc::default(), now));
        subscriber.receive(&["subscribe", name, "1"]);
    };
    let shared = ["a", "b", "c", "d", "e", "f", "g", "h"];
    shared
        .iter()
        .for_each(|name| [0, 1].iter().for_each(|number| keep(*number, name)));
    keep(0, "own");
    subscriber.heard();
    subscriber.with(|pipeline, now| assert_eq!(pipeline.leave(0, 5, now), None));
    assert!(subscriber.heard()[0].is_empty());
    subscriber.receive(&["unsubscribe", "own", "8"]);
    assert_eq!(subscriber.heard()[0], ["5 done"]);
}

/// A connection may be healthy, with PING answered, while nothing that is published comes for hours.
#[test]
fn a_connection_that_brings_nothing_ends() {
    let mut subscriber = SharedSubscriber::new();
    let now = subscriber.harness.now;
    subscriber.with(|pipeline, now| pipeline.keep(0, &news(), Priority::First, Arc::default(), now));
    subscriber.receive(&["subscribe", "news", "1"]);
    assert!(subscriber.harness.pipeline.tick(now).is_ok());
    subscriber.harness.pipeline.machine.is_deaf = true;
    let fault = subscriber.harness.pipeline.tick(now).unwrap_err();
    assert_eq!(fault.reason, Some(Reason::Silent));
    subscriber.harness.pipeline.lost(fault, now);
    // It is found out once.
    subscriber.connect();
    assert!(subscriber.harness.pipeline.tick(now).is_ok());
    subscriber.receive(&["subscribe", "news", "1"]);
    assert_eq!(
        subscriber.heard(),
        heard([&["subscribed", "gap began", "subscribed", "gap"], &[], &[]])
    );
}
