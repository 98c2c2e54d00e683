use super::*;
use crate::redis::completions::Event;
use crate::redis::subscriber::table::BATCH;

#[test]
fn after_a_loss_all_is_subscribed_again_then_the_gap_is_told() {
    let mut harness = Subscriber::connected();
    for (id, name) in [(1, "a"), (2, "b")] {
        harness.subscribe(id, name);
        harness.receive(&push(&["subscribe", name, "1"])).unwrap();
    }
    harness.lose();
    harness.subscribe(3, "c");
    harness.connect();
    let mut commands: Vec<_> = harness
        .written()
        .split("*2\r\n$9\r\n")
        .map(str::to_owned)
        .collect();
    let last = commands.pop();
    commands.sort();
    assert_eq!(
        commands,
        ["", "SUBSCRIBE\r\n$1\r\na\r\n", "SUBSCRIBE\r\n$1\r\nb\r\n"]
    );
    assert_eq!(last.as_deref(), Some("SUBSCRIBE\r\n$1\r\nc\r\n"));
    harness.receive(&push(&["subscribe", "b", "1"])).unwrap();
    assert_eq!(harness.gap(), None);
    harness.lose();
    harness.connect();
    for name in ["a", "b", "c"] {
        harness.receive(&push(&["subscribe", name, "1"])).unwrap();
    }
    let gap = harness.gap().unwrap();
    assert!(gap.from <= gap.to);
    assert_eq!(
        harness.answers(),
        answers(&[(1, "_\r\n"), (2, "_\r\n"), (3, "_\r\n")])
    );
}

#[test]
fn a_first_connection_and_one_without_subscriptions_tell_no_gap() {
    let mut harness = Subscriber::new();
    harness.subscribe(1, "a");
    harness.connect();
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.unsubscribe(Some(2), "a");
    harness.receive(&push(&["unsubscribe", "a", "0"])).unwrap();
    harness.lose();
    harness.connect();
    assert_eq!(harness.written(), "");
    assert_eq!(harness.gap(), None);
}

/// The PING of an idle connection, and any other request, must not move the beginning of the gap. Otherwise messages lost before it are not
/// in the gap.
#[test]
fn a_gap_begins_when_something_was_heard_last() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.pass(TIMEOUT / 2);
    harness.subscribe(2, "b");
    harness.pass(TIMEOUT / 2);
    harness.lose();
    harness.connect();
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    let gap = harness.gap().unwrap();
    assert!(gap.to.duration_since(gap.from).unwrap() >= TIMEOUT);
}

/// On a busy machine messages and the end of the connection behind them are read together, and late. A gap that begins only then does not
/// cover lost messages that are published before the read.
#[test]
fn a_gap_begins_before_the_last_read_which_may_have_come_late() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.pass(TIMEOUT / 2);
    harness.receive(&push(&["message", "a", "1"])).unwrap();
    harness.lose();
    harness.connect();
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    let gap = harness.gap().unwrap();
    assert!(gap.to.duration_since(gap.from).unwrap() >= TIMEOUT / 2);
}

/// A thousand SUBSCRIBE at once from each of many instances block a server that has just come back.
#[test]
fn topics_that_can_wait_are_subscribed_again_a_batch_at_a_time_and_then_the_gap_is_told() {
    let mut harness = Subscriber::connected();
    harness.subscribe(0, "fleet");
    harness.receive(&push(&["subscribe", "fleet", "1"])).unwrap();
    let names: Vec<String> = (0..2 * BATCH + 10).map(|index| format!("own:{index}")).collect();
    let confirm = |harness: &mut Subscriber| {
        let written = harness.written();
        let subscribed = written.split("*2\r\n$9\r\nSUBSCRIBE\r\n").skip(1);
        let asked: Vec<_> = subscribed
            .map(|rest| rest.split("\r\n").nth(1).unwrap())
            .collect();
        for name in &asked {
            harness.receive(&push(&["subscribe", name, "1"])).unwrap();
        }
        asked.len()
    };
    for name in &names {
        harness.keep_batched(name);
        confirm(&mut harness);
    }
    for name in &names {
        harness.receive(&push(&["message", name, "x"])).unwrap();
    }
    assert_eq!(harness.heard().len(), names.len());

    harness.lose();
    harness.connect();
    assert_eq!(confirm(&mut harness), 1);
    assert_eq!(harness.gap(), None);
    // A new topic waits behind them, and a topic that has been left is passed over.
    harness.keep_batched("new");
    harness.unsubscribe(None, "own:0");
    harness.written();
    harness.receive(&push(&["unsubscribe", "own:0", "1"])).unwrap();
    for expected in [BATCH, BATCH, 10] {
        assert!(harness.pipeline.has_batches());
        harness.send_batch();
        assert_eq!(harness.gap(), None);
        assert_eq!(confirm(&mut harness), expected);
    }
    assert!(!harness.pipeline.has_batches());
    assert!(harness.gap().is_some());
    for name in ["new", "own:0"] {
        harness.receive(&push(&["message", name, "x"])).unwrap();
    }
    assert_eq!(harness.heard(), ["new x"]);
}

#[test]
fn when_all_that_waited_have_left_the_gap_is_told() {
    let mut harness = Subscriber::connected();
    harness.subscribe(0, "fleet");
    harness.receive(&push(&["subscribe", "fleet", "1"])).unwrap();
    harness.keep_batched("own");
    harness.receive(&push(&["subscribe", "own", "1"])).unwrap();
    harness.lose();
    harness.connect();
    harness.receive(&push(&["subscribe", "fleet", "1"])).unwrap();
    harness.unsubscribe(None, "own");
    harness.receive(&push(&["unsubscribe", "own", "1"])).unwrap();
    assert_eq!(harness.gap(), None);
    harness.send_batch();
    assert!(harness.gap().is_some());
}

/// A long script began between the handshake and the SUBSCRIBE of a new connection: the topic was given up as refused, for good.
#[test]
fn a_topic_that_a_busy_server_does_not_subscribe_is_asked_for_again() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.lose();
    harness.connect();
    harness.written();
    let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    for _ in 0..2 {
        harness.receive(busy).unwrap();
        assert_eq!(harness.gap(), None);
        assert!(harness.pipeline.has_batches());
        harness.send_batch();
        assert_eq!(harness.written(), sent(&[&["SUBSCRIBE", "a"]]));
    }
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    assert!(harness.gap().is_some());
    assert!(
        harness
            .recorder
            .0
            .lock()
            .events
            .iter()
            .all(|event| !matches!(event, Event::Unsubscribed { .. }))
    );
}

// A server that is back without the user's rights refuses what it is asked for again. What was missed until then was told to nobody.
#[test]
fn the_gap_of_a_topic_that_is_refused_is_told_with_that() {
    let mut harness = Subscriber::connected();
    harness.keep_batched("a");
    harness.receive(&push(&["subscribe", "a", "1"])).unwrap();
    harness.lose();
    harness.connect();
    harness.send_batch();
    harness.receive("-NOPERM no rights\r\n").unwrap();
    assert!(harness.gap().is_some());
}
