//! Shard channels, whose server may cease to be their home.

use std::time::SystemTime;

use super::topics::{Subscriber, push};
use super::*;
use crate::redis::request::{Departure, Topic, TopicKind};
use crate::redis::subscriber::entry::Priority;

const MOVED: &str = "-MOVED 15495 127.0.0.1:7001\r\n";

const NEVER: [&str; 3] = ["unsubscribe", "covara-kv:never", "0"];

fn shard(name: &'static str) -> Topic {
    Topic::new(TopicKind::Shard, name.into())
}

fn keep(subscriber: &mut Subscriber, name: &'static str) {
    let now = subscriber.now;
    let state = Arc::default();
    let (pipeline, topic) = (&mut subscriber.pipeline, shard(name));
    pipeline.keep(0, &topic, Priority::Batched, state, now);
}

fn ask_displaced(subscriber: &mut Subscriber) {
    let now = subscriber.now;
    subscriber.pipeline.ask_displaced(now);
}

fn live(name: &'static str) -> Subscriber {
    let mut subscriber = Subscriber::connected();
    keep(&mut subscriber, name);
    assert_eq!(subscriber.written(), sent(&[&["SSUBSCRIBE", name]]));
    let came = [push(&["ssubscribe", name, "1"]), push(&["smessage", name, "x"])];
    subscriber.receive(&came.concat()).unwrap();
    assert_eq!(subscriber.heard(), [format!("{name} x")]);
    subscriber
}

// The server unsubscribes a channel whose slot moves. A client that goes on as if nothing has happened hears nothing (node-redis #3311).
#[test]
fn a_channel_that_the_server_has_unsubscribed_is_asked_for_again_and_a_gap_is_told() {
    let mut subscriber = live("a");
    let left = push(&["sunsubscribe", "a", "0"]);
    subscriber
        .receive(&[left, push(&["smessage", "a", "late"])].concat())
        .unwrap();
    assert!(subscriber.heard().is_empty());
    assert_eq!((subscriber.written(), subscriber.gap()), (String::new(), None));
    for _ in 0..2 {
        ask_displaced(&mut subscriber);
        assert_eq!(subscriber.written(), sent(&[&["SSUBSCRIBE", "a"]]));
        subscriber.receive(MOVED).unwrap();
    }
    assert!(subscriber.recorder.0.lock().events.is_empty() && subscriber.gap().is_none());
    ask_displaced(&mut subscriber);
    let came = [push(&["ssubscribe", "a", "1"]), push(&["smessage", "a", "y"])];
    subscriber.receive(&came.concat()).unwrap();
    assert_eq!(subscriber.heard(), ["a y"]);
    assert!(subscriber.gap().is_some());
}

#[test]
fn a_channel_whose_home_is_elsewhere_from_the_first_is_no_refused_one() {
    let mut subscriber = Subscriber::connected();
    keep(&mut subscriber, "a");
    subscriber.receive(MOVED).unwrap();
    assert!(subscriber.recorder.0.lock().events.is_empty());
    subscriber.written();
    ask_displaced(&mut subscriber);
    assert_eq!(subscriber.written(), sent(&[&["SSUBSCRIBE", "a"]]));
    subscriber.receive("-NOPERM no rights\r\n").unwrap();
    assert_eq!(subscriber.recorder.0.lock().events.len(), 1);
}

// A server that has unsubscribed it already answers SUNSUBSCRIBE with MOVED, or once more. Taken for the answer to the next request, that puts
// all later answers out of step. So a request follows whose answer is known.
#[test]
fn what_answers_sunsubscribe_is_not_taken_for_the_next_answer() {
    let left = push(&["sunsubscribe", "a", "0"]);
    for answer in [&left[..], MOVED, &[&left[..], MOVED].concat(), &left.repeat(2)] {
        let mut subscriber = live("a");
        let now = subscriber.now;
        subscriber.pipeline.unsubscribe(0, Some(1), &shard("a"), now);
        keep(&mut subscriber, "b");
        let tail = ["UNSUBSCRIBE", "covara-kv:never"];
        let written = sent(&[&["SUNSUBSCRIBE", "a"], &tail, &["SSUBSCRIBE", "b"]]);
        assert_eq!(subscriber.written(), written);
        subscriber.receive(answer).unwrap();
        assert!(subscriber.answers().is_empty(), "{answer}");
        let came = [
            push(&NEVER),
            push(&["ssubscribe", "b", "1"]),
            push(&["smessage", "b", "x"]),
        ];
        subscriber.receive(&came.concat()).unwrap();
        assert_eq!(subscriber.answers(), answers(&[(1, "_\r\n")]));
        assert_eq!(subscriber.heard(), ["b x"]);
    }
}

// The error of the request that follows counts as its answer, whatever the answer to SUNSUBSCRIBE is.
#[test]
fn a_user_that_may_not_unsubscribe_keeps_the_answers_in_step() {
    const REFUSED: &str = "-NOPERM User u has no permissions to run the 'unsubscribe' command\r\n";
    let both = "-NOPERM User u has no permissions to run the 'sunsubscribe' command\r\n".to_owned() + REFUSED;
    for answer in [push(&["sunsubscribe", "a", "0"]) + REFUSED, both] {
        let mut subscriber = live("a");
        let now = subscriber.now;
        subscriber.pipeline.unsubscribe(0, None, &shard("a"), now);
        keep(&mut subscriber, "b");
        subscriber.receive(&answer).unwrap();
        let came = [push(&["ssubscribe", "b", "1"]), push(&["smessage", "b", "x"])];
        subscriber.receive(&came.concat()).unwrap();
        assert_eq!(subscriber.heard(), ["b x"]);
    }
}

/// Two channels, of which the server has unsubscribed one.
fn with_one_displaced() -> Subscriber {
    let mut subscriber = live("a");
    keep(&mut subscriber, "b");
    subscriber.receive(&push(&["ssubscribe", "b", "2"])).unwrap();
    subscriber.receive(&push(&["sunsubscribe", "a", "1"])).unwrap();
    subscriber
}

#[test]
fn a_displaced_channel_that_is_left_holds_no_gap_open() {
    let mut subscriber = with_one_displaced();
    let now = subscriber.now;
    subscriber.pipeline.unsubscribe(0, None, &shard("a"), now);
    keep(&mut subscriber, "a");
    let came = [push(&NEVER), push(&["ssubscribe", "a", "2"])];
    subscriber.receive(&came.concat()).unwrap();
    assert!(
        subscriber.gap().is_none(),
        "nothing was missed that is still wanted"
    );
}

// All streams of a process read their state again at a gap. The one of a channel that moved was told where it left, and again where it came.
#[test]
fn a_displaced_channel_that_crosses_takes_its_gap_along() {
    let mut subscriber = with_one_displaced();
    let departure = Departure {
        listener: 0,
        topics: Arc::new(Mutex::new(Some([shard("a")].into()))),
        node: "127.0.0.1:7000".into(),
        channel: Topic::new(TopicKind::Channel, "crossing".into()),
    };
    let now = subscriber.now;
    subscriber
        .pipeline
        .depart(&departure, SystemTime::now(), false, now);
    let came = [push(&NEVER), push(&["smessage", "b", "y"])];
    subscriber.receive(&came.concat()).unwrap();
    assert_eq!(subscriber.heard(), ["b y"]);
    assert!(subscriber.gap().is_none());
}

// While a script runs for long, UNSUBSCRIBE is refused. The channel stayed subscribed for nobody, and SUNSUBSCRIBE, which has two answers
// then, put all later ones out of step.
#[test]
fn a_server_that_is_too_busy_to_unsubscribe_is_left() {
    for topic in [shard("a"), Topic::new(TopicKind::Channel, "a".into())] {
        let mut subscriber = Subscriber::connected();
        let now = subscriber.now;
        let pipeline = &mut subscriber.pipeline;
        pipeline.keep(0, &topic, Priority::First, Arc::default(), now);
        subscriber.receive(&push(&["subscribe", "a", "1"])).unwrap();
        subscriber.pipeline.unsubscribe(0, Some(1), &topic, now);
        let busy = subscriber.receive("-BUSY Redis is busy running a script\r\n");
        assert_eq!(busy.unwrap_err().code, "BUSY");
        subscriber.lose();
        assert_eq!(subscriber.answers(), answers(&[(1, "_\r\n")]));
    }
}
