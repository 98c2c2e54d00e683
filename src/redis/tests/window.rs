//! How many bytes of replies may be in flight.

use std::time::Duration;

use super::*;
use crate::redis::pipeline::queue::Queue;

const LENGTH: usize = 16 << 10;

fn bulk(length: usize) -> String {
    format!("${length}\r\n{}\r\n", "x".repeat(length))
}

/// How many replies of `LENGTH` fit into a window.
fn most(window: usize) -> usize {
    window / bulk(LENGTH).len()
}

/// A connection that has seen replies of 16 KB, with so many calls sent on it.
fn with_long_replies(round_trip: Duration, calls: u32) -> Harness {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.round_trip = round_trip;
    pipeline.connect(usize::MAX, ServerRole::Master);
    for id in 0..100 {
        pipeline.send(&[pipeline.read(id, &["GET", "long"])]);
        pipeline.receive(&bulk(LENGTH)).unwrap();
    }
    pipeline.answers();
    pipeline.written();
    let requests: Vec<_> = (0..calls)
        .map(|id| pipeline.write(id, &["GETSET", &id.to_string(), ""]))
        .collect();
    pipeline.send(&requests);
    pipeline
}

/// The number of commands written since the last call.
fn commands(pipeline: &Harness) -> usize {
    pipeline.written().matches("GETSET").count()
}

/// The server holds 2,000 replies of 16 KB in memory at once, and takes four times as long for each.
#[test]
fn long_replies_are_asked_for_little_by_little() {
    let most = most(2 << 20);
    let mut pipeline = with_long_replies(Duration::ZERO, 1_000);
    let mut owed = commands(&pipeline);
    assert!(owed.abs_diff(most) <= 1, "{owed}");
    for id in 0..1_000 {
        pipeline.receive(&bulk(LENGTH)).unwrap();
        assert_eq!(pipeline.answers(), [(id, bulk(LENGTH))]);
        let more = commands(&pipeline);
        let all = id as usize + owed + more == 1_000;
        assert!(more == 0 || more >= most / 4 || all, "{more} at a time");
        owed = owed + more - 1;
        assert!(owed <= most + 1, "{owed}");
        assert!(all || owed >= most / 2, "{owed}");
    }
    assert_eq!(owed, 0);
}

/// At a round trip of 10 ms a window of 2 MB would leave the line idle most of the time.
#[test]
fn a_far_server_may_owe_as_much_as_the_line_carries() {
    let pipeline = with_long_replies(Duration::from_millis(10), 1_000);
    assert!(commands(&pipeline).abs_diff(most(10_000_000)) <= 5);
    // On a machine of 32 bits a round trip of 4.3 s must not become one of a nanosecond.
    for far in [Duration::from_secs(1), Duration::from_nanos((1 << 32) + 1)] {
        let mut pipeline = with_long_replies(far, 5_000);
        let unsent = pipeline.pipeline.unsent().concat();
        let count = String::from_utf8(unsent).unwrap().matches("GETSET").count();
        assert!(count.abs_diff(most(32 << 20)) <= 5, "{count}");
    }
}

#[test]
fn what_waited_until_less_was_owed_goes_out_on_the_next_connection() {
    let mut pipeline = with_long_replies(Duration::ZERO, 1_000);
    let owed = commands(&pipeline);
    pipeline.lose();
    let failed = pipeline.answers();
    assert_eq!(failed.len(), owed);
    assert!(failed.iter().all(|(_, code)| code == "CONNECTION"));
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(commands(&pipeline), 1_000 - owed);
}

/// Unsent writes go to a server that has just refused writes.
#[test]
fn what_waited_until_less_was_owed_is_not_for_a_server_that_refuses_to_write() {
    let mut pipeline = with_long_replies(Duration::ZERO, 1_000);
    pipeline.pipeline.limits.max_queue = 1_000;
    let owed = commands(&pipeline);
    for _ in 0..owed {
        pipeline.receive(READONLY).unwrap();
    }
    assert_eq!(commands(&pipeline), 0);
    assert_eq!(pipeline.answers(), []);
    assert!(!pipeline.pipeline.retire());
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(commands(&pipeline), 1_000);
}

/// Commands must not be sent after they fail with TIMEOUT. Otherwise a write runs long after its caller is told that it may not have.
#[test]
fn what_waited_for_too_long_is_not_sent() {
    let mut pipeline = with_long_replies(Duration::ZERO, 1_000);
    let owed = commands(&pipeline);
    pipeline.pass(TIMEOUT / 2);
    pipeline.send(&[pipeline.write(1_000, &["GETSET", "later", ""])]);
    pipeline.pass(TIMEOUT / 2);
    pipeline.receive("$").unwrap();
    pipeline.pipeline.tick(pipeline.now).unwrap();
    let failed = std::mem::take(&mut pipeline.pipeline.completed.answers);
    assert_eq!(failed.len(), 1_000);
    for answer in failed {
        let message = &answer.outcome.unwrap_err().message;
        let was_not_sent = message.ends_with("so that the command was not sent");
        assert_eq!(was_not_sent, answer.id >= owed as u32, "{message}");
    }
    pipeline.receive("-1\r\n").unwrap();
    for _ in 1..owed {
        pipeline.receive("$-1\r\n").unwrap();
    }
    assert_eq!(pipeline.written(), sent(&[&["GETSET", "later", ""]]));
    pipeline.receive("$-1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1_000, "$-1\r\n")]));
}

#[test]
fn one_huge_reply_says_little_of_the_next() {
    let mut pipeline = with_long_replies(Duration::ZERO, 0);
    pipeline.send(&[pipeline.read(0, &["GET", "huge"])]);
    pipeline.receive(&bulk(64 << 20)).unwrap();
    pipeline.written();
    let requests: Vec<_> = (0..100)
        .map(|id| pipeline.write(id, &["GETSET", "a", ""]))
        .collect();
    pipeline.send(&requests);
    assert!(commands(&pipeline) > 16);
    // The window never falls below a few commands, however long the replies are.
    for _ in 0..100 {
        pipeline.receive(&bulk(1 << 20)).unwrap();
    }
    pipeline.written();
    pipeline.send(&requests);
    assert_eq!(commands(&pipeline), 4);
}

#[test]
fn a_script_that_is_sent_again_goes_ahead_of_what_waits() {
    let mut pipeline = with_long_replies(Duration::ZERO, 0);
    pipeline.send(&[script(&pipeline, 0)]);
    pipeline.receive(&bulk(LENGTH)).unwrap();
    pipeline.answers();
    pipeline.send(&[script(&pipeline, 1)]);
    let requests: Vec<_> = (2..1_000)
        .map(|id| pipeline.write(id, &["GETSET", &id.to_string(), ""]))
        .collect();
    pipeline.send(&requests);
    let owed = commands(&pipeline);
    pipeline
        .receive("-NOSCRIPT No matching script. Please use EVAL.\r\n")
        .unwrap();
    let again = pipeline.written();
    assert!(again.contains("EVAL\r\n"), "{again}");
    assert!(again.matches("GETSET").count() <= most(2 << 20) / 4 + 1);
    for id in 0..owed {
        pipeline.receive(&bulk(LENGTH)).unwrap();
        assert_eq!(pipeline.answers(), [(id as Id + 2, bulk(LENGTH))]);
    }
    pipeline.receive(":1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, ":1\r\n")]));
}

// What comes from behind a fence goes in ahead of requests with earlier deadlines. Those end with it, up to one `commandTimeout` late.
#[test]
fn no_request_ends_late_behind_one_with_more_time() {
    let harness = Harness::<Commands>::new();
    let mut queue = Queue::default();
    queue.push(harness.read(2, &["GET", "b"]), (harness.now + TIMEOUT).into());
    queue.push(
        harness.read(1, &["GET", "a"]),
        (harness.now + QUEUE_TIMEOUT).into(),
    );
    let due = std::iter::from_fn(|| queue.pop_due(harness.now + TIMEOUT));
    let due: Vec<_> = due.filter_map(|request| request.id).collect();
    assert_eq!(due, [1, 2]);
}

/// A request of 152 bytes was copied by calls of `memcpy`: 7 % of a busy process.
#[test]
fn a_request_is_moved_without_a_call() {
    use crate::redis::pipeline::in_flight::Sent;
    use crate::redis::pipeline::queue::UnsentRequest;
    assert!(size_of::<Sent>() <= 128, "{}", size_of::<Sent>());
    assert!(
        size_of::<UnsentRequest>() <= 128,
        "{}",
        size_of::<UnsentRequest>()
    );
}
