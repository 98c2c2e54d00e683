use std::pin::pin;
use std::time::Duration;

use super::*;
use crate::redis::completions::CompletionQueue;
use crate::redis::connection::shared::Shared;
use crate::redis::protocol::decode;
use crate::reply::Reply;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn replies_find_their_requests_in_order_however_they_are_cut() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["GET", "a"]), pipeline.read(2, &["GET", "b"])]);
    assert_eq!(pipeline.written(), sent(&[&["GET", "a"], &["GET", "b"]]));
    for piece in ["$1\r\nA\r", "\n$1\r\n", "B\r\n"] {
        pipeline.receive(piece).unwrap();
    }
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "$1\r\nA\r\n"), (2, "$1\r\nB\r\n")])
    );
}

#[test]
fn a_transaction_is_answered_once_all_its_replies_are_there() {
    let mut pipeline = Harness::<Commands>::connected();
    let transaction = Request {
        replies: 3,
        ..pipeline.write(1, &["MULTI", "…"])
    };
    pipeline.send(&[transaction, pipeline.read(2, &["PING"])]);
    pipeline.receive("+OK\r\n+QUEUED\r\n*1\r\n").unwrap();
    assert_eq!(pipeline.answers(), []);
    pipeline.receive(":1\r\n+PONG\r\n").unwrap();
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"), (2, "+PONG\r\n")])
    );
}

#[test]
fn a_push_answers_nobody() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.receive(">1\r\n+x\r\n").unwrap();
    pipeline.send(&[pipeline.read(1, &["PING"])]);
    pipeline.receive(">1\r\n+x\r\n+PONG\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, "+PONG\r\n")]));
    let pong = Reply::Status("PONG".into());
    assert_eq!(decode::parse_reply(b">1\r\n+x\r\n+PONG\r\n").unwrap(), pong);
    assert_eq!(decode::parse_all(b">1\r\n+x\r\n+PONG\r\n").unwrap(), [pong]);
}

#[test]
fn after_a_loss_reads_are_sent_again_and_writes_are_not() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[
        pipeline.read(1, &["GET", "a"]),
        pipeline.write(2, &["INCR", "n"]),
        pipeline.read(3, &["GET", "b"]),
    ]);
    pipeline.receive("$1\r\nA\r\n:").unwrap();
    pipeline.lose();
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "$1\r\nA\r\n"), (2, "CONNECTION")])
    );
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["GET", "b"]]));
    // The half of a reply from the last connection must not be part of it.
    pipeline.receive("$1\r\nB\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(3, "$1\r\nB\r\n")]));
}

#[test]
fn a_write_of_which_the_socket_took_nothing_is_sent_on_the_next_connection() {
    let mut pipeline = Harness::<Commands>::new();
    let first = sent(&[&["INCR", "a"]]).len();
    pipeline.connect(first + 1, ServerRole::Master);
    pipeline.send(&[
        pipeline.write(1, &["INCR", "a"]),
        pipeline.write(2, &["INCR", "b"]),
        pipeline.write(3, &["INCR", "c"]),
    ]);
    pipeline.lose();
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "CONNECTION"), (2, "CONNECTION")])
    );
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "c"]]));
}

#[test]
fn a_reply_after_its_deadline_is_nobodys() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["GET", "a"])]);
    pipeline.pass(TIMEOUT - SECOND);
    pipeline.send(&[pipeline.read(2, &["GET", "b"])]);
    pipeline.receive(">1\r\n+alive\r\n").unwrap();
    pipeline.pass(SECOND);
    let next = pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, "TIMEOUT")]));
    assert_eq!(next, pipeline.now + TIMEOUT - SECOND);
    pipeline.receive("$1\r\nA\r\n$1\r\nB\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "$1\r\nB\r\n")]));
}

#[test]
fn a_server_that_owes_and_says_nothing_is_given_up() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["GET", "a"])]);
    pipeline.pass(TIMEOUT);
    let frozen = pipeline.pipeline.tick(pipeline.now).unwrap_err();
    assert!(frozen.message.contains("server:1"), "{}", frozen.message);
    assert_eq!(pipeline.answers(), answers(&[(1, "TIMEOUT")]));
}

#[test]
fn an_idle_connection_is_asked_whether_it_is_alive() {
    let mut pipeline = Harness::<Commands>::connected();
    let mut next = pipeline.now;
    for _ in 0..3 {
        pipeline.now = next;
        next = pipeline.pipeline.tick(pipeline.now).unwrap();
    }
    assert_eq!(pipeline.written(), sent(&[&["PING"]]));
    pipeline.receive("+PONG\r\n").unwrap();
    assert_eq!(pipeline.answers(), []);
    pipeline.pass(2 * TIMEOUT);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.written(), sent(&[&["PING"]]));
    pipeline.pass(TIMEOUT);
    assert!(pipeline.pipeline.tick(pipeline.now).is_err());
}

/// With the server down, the first calls must not fail when the attempts are used up, after 0.6 s, although their timeout is 5 s.
#[test]
fn without_a_connection_requests_wait_so_many_and_so_long() {
    let mut pipeline = Harness::<Commands>::new();
    let refused = Error::ours("CONNECTION", "refused");
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.pass(SECOND);
    pipeline.send(&[
        pipeline.write(2, &["INCR", "b"]),
        pipeline.write(3, &["INCR", "c"]),
        pipeline.write(4, &["INCR", "d"]),
    ]);
    assert_eq!(pipeline.answers(), answers(&[(4, "QUEUE_FULL")]));
    for _ in 0..100 {
        pipeline.pipeline.not_connected(&refused, false);
    }
    pipeline.pass(QUEUE_TIMEOUT - 2 * SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), []);
    pipeline.pass(SECOND);
    let next = pipeline.pipeline.tick(pipeline.now).unwrap();
    let error = pipeline.error();
    assert_eq!(error.code, "TIMEOUT");
    assert!(
        error.message.contains("10000 ms (queueTimeout)"),
        "{}",
        error.message
    );
    assert!(
        error.message.ends_with("was not run: refused"),
        "{}",
        error.message
    );
    assert_eq!(next, pipeline.now + SECOND);
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "b"], &["INCR", "c"]]));
    // From here on the command timeout of the reply counts.
    pipeline.pass(TIMEOUT - SECOND);
    pipeline.receive(">1\r\n+alive\r\n").unwrap();
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), []);
    pipeline.pass(SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "TIMEOUT"), (3, "TIMEOUT")]));
}

#[test]
fn whoever_sets_max_retries_waits_for_so_many_attempts() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.pipeline.limits.max_retries = Some(2);
    let refused = Error::ours("CONNECTION", "refused");
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.pipeline.not_connected(&refused, false);
    pipeline.pipeline.not_connected(&refused, false);
    assert_eq!(pipeline.answers(), []);
    pipeline.pipeline.not_connected(&refused, false);
    assert_eq!(pipeline.answers(), answers(&[(1, "CONNECTION")]));
}

#[test]
fn whoever_connects_is_told_after_three_attempts() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.pipeline.connect(1);
    for _ in 0..3 {
        assert_eq!(pipeline.answers(), []);
        let refused = Error::ours("CONNECTION", "refused");
        pipeline.pipeline.not_connected(&refused, false);
    }
    assert_eq!(pipeline.answers(), answers(&[(1, "CONNECTION")]));
}

/// A call from before the loss of the connection waits half as long as a call from after it.
#[test]
fn what_is_to_be_sent_again_waits_as_long_as_what_was_not_sent() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["GET", "a"]), pipeline.read(2, &["GET", "b"])]);
    pipeline.lose();
    pipeline.pass(QUEUE_TIMEOUT - SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["GET", "a"]]));
    // A read with which the connection is lost twice fails.
    pipeline.lose();
    assert_eq!(pipeline.answers(), answers(&[(1, "CONNECTION")]));
    pipeline.pass(SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "TIMEOUT")]));
}

#[test]
fn an_endless_wait_for_a_connection_ends_with_the_store() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.pipeline.limits.queue_timeout = Duration::from_secs(1 << 32);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.pipeline.close(9, pipeline.now);
    pipeline.pass(TIMEOUT);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, "CLOSED")]));
    assert!(pipeline.pipeline.is_done());
}

// The loss of a connection gives a read all of `queueTimeout` again, though its store closes: `disconnect` waits for ever where that is
// endless.
#[test]
fn what_is_to_be_sent_again_ends_with_the_store() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["GET", "a"])]);
    pipeline.pipeline.close(9, pipeline.now);
    pipeline.lose();
    pipeline.send(&[pipeline.read(2, &["GET", "b"])]);
    pipeline.pass(TIMEOUT);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, "CLOSED"), (2, "CLOSED")]));
    assert!(pipeline.pipeline.is_done());
}

// What was called long ago comes from behind a fence to a node without a connection. It ends with the next `tick`, seconds after its
// deadline.
#[test]
fn the_supervisor_is_woken_for_a_deadline_that_comes_sooner_than_planned() {
    let mut harness = Harness::<Commands>::new();
    let late = harness.read(1, &["GET", "a"]);
    harness.pass(QUEUE_TIMEOUT - SECOND);
    harness.pipeline.tick(harness.now).unwrap();
    let (fresh, now) = (harness.read(2, &["GET", "b"]), harness.now);
    let shared = Shared::new(harness.pipeline, Arc::new(CompletionQueue::new(|| true)));
    for (request, is_woken) in [(fresh, false), (late, true)] {
        shared.with(|pipeline| pipeline.send([request], now));
        assert_eq!(pin!(shared.must_tick.notified()).enable(), is_woken);
    }
}

#[test]
fn a_refusal_is_told_to_all_who_wait_at_once() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.pipeline.connect(1);
    pipeline.send(&[pipeline.read(2, &["GET", "a"])]);
    pipeline
        .pipeline
        .not_connected(&Error::reply("WRONGPASS no"), true);
    assert_eq!(pipeline.answers(), answers(&[(1, "WRONGPASS"), (2, "WRONGPASS")]));
}

/// Over TLS the kernel goes on taking bytes for a server that is gone: 895 of 900 calls fail in 940 s.
#[test]
fn bytes_that_are_taken_say_nothing_of_the_server() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.connect(0, ServerRole::Master);
    for id in 0..TIMEOUT.as_secs() as u32 {
        assert!(pipeline.pipeline.tick(pipeline.now).is_ok());
        pipeline.send(&[pipeline.read(id, &["GET", "a"])]);
        let bytes = pipeline.pipeline.unsent().concat();
        pipeline.pipeline.note_written(bytes.len());
        pipeline.pass(SECOND);
    }
    assert!(pipeline.pipeline.tick(pipeline.now).is_err());
}

/// A server closes idle connections while the process is frozen, and the first write goes into a closed connection.
#[test]
fn a_connection_that_was_idle_is_looked_at_before_it_is_written_to() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.pass(SECOND);
    pipeline.socket.shutdown.store(true, Ordering::Relaxed);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    assert_eq!(pipeline.written(), "");
    assert!(pipeline.pipeline.has_unsent());
    assert!(pipeline.pipeline.must_drain_first());
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "a"]]));
}

/// A reply without end takes more than 2 GB of memory, and still more long after its TIMEOUT.
#[test]
fn a_reply_without_end_ends_the_connection() {
    let line = "x".repeat(70 << 10);
    let elements = format!("*2147483647\r\n{}", ":1\r\n".repeat(1 << 20));
    let pushes = ">1\r\n+x\r\n".repeat(1 << 20);
    for (reply, error) in [
        (
            "$9000000000000000000\r\n",
            Some("announced a string of more than 512 MB"),
        ),
        ("$536870913\r\n", Some("announced a string of more than 512 MB")),
        (&format!("+{line}"), Some("sent a line of more than 65536 bytes")),
        (
            &format!("-{line}\r\n"),
            Some("sent a line of more than 65536 bytes"),
        ),
        (
            &elements,
            Some("sent a reply of more than 1048576 bytes (maxReplySize)"),
        ),
        (&pushes, None),
    ] {
        let mut pipeline = Harness::<Commands>::connected();
        pipeline.pipeline.limits.max_reply = 1 << 20;
        pipeline.send(&[pipeline.read(1, &["GET", "a"]), pipeline.read(2, &["GET", "b"])]);
        let received = pipeline.receive(reply);
        let Some(error) = error else {
            assert!(received.is_ok() && pipeline.buffer.is_empty());
            continue;
        };
        assert!(received.unwrap_err().message.contains(error));
        assert!(pipeline.error().message.contains(error));
        // The read is not sent again; the one behind it is.
        pipeline.lose();
        pipeline.connect(usize::MAX, ServerRole::Master);
        assert_eq!(pipeline.written(), sent(&[&["GET", "b"]]));
    }
}

#[test]
fn what_the_transport_writes_nobody_else_does() {
    let mut pipeline = Harness::<Commands>::new();
    let ping = sent(&[&["PING"]]);
    pipeline.connect(3, ServerRole::Master);
    pipeline.send(&[pipeline.read(1, &["PING"])]);
    assert!(pipeline.pipeline.has_unsent());
    let rest = pipeline.pipeline.unsent().concat();
    assert_eq!(rest, ping.as_bytes()[3..]);
    pipeline.send(&[pipeline.read(2, &["PING"])]);
    assert!(!pipeline.pipeline.has_unsent());
    pipeline.pipeline.note_written(rest.len());
    assert_eq!(pipeline.pipeline.unsent().concat(), ping.as_bytes());
    pipeline.pipeline.note_written(ping.len());
    assert!(pipeline.pipeline.unsent().is_empty());
    assert_eq!(pipeline.written(), ping[..3]);
}

#[test]
fn closing_waits_for_answers() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["PING"])]);
    pipeline.pipeline.close(9, pipeline.now);
    assert!(!pipeline.pipeline.is_done());
    pipeline.receive("+PONG\r\n").unwrap();
    assert!(pipeline.pipeline.is_done());
    pipeline.pipeline.end();
    assert_eq!(pipeline.answers(), answers(&[(1, "+PONG\r\n"), (9, "_\r\n")]));
}

#[test]
fn after_its_end_everything_is_answered_at_once() {
    let mut pipeline = Harness::<Subscriptions>::connected();
    pipeline.pipeline.end();
    pipeline.send(&[pipeline.read(1, &["GET", "a"])]);
    pipeline.pipeline.connect(2);
    pipeline.pipeline.close(3, pipeline.now);
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "CLOSED"), (2, "CLOSED"), (3, "_\r\n")])
    );
}
