use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::redis::protocol::decode;
use crate::redis::request::Script;
use crate::reply::Reply;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn replies_find_their_requests_in_order_however_they_are_cut() {
    let mut pipeline = Harness::connected(Role::Commands);
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
    let mut pipeline = Harness::connected(Role::Commands);
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
    let mut pipeline = Harness::connected(Role::Commands);
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
    let mut pipeline = Harness::connected(Role::Commands);
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
    // The half reply of before must not be part of it.
    pipeline.receive("$1\r\nB\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(3, "$1\r\nB\r\n")]));
}

#[test]
fn a_write_of_which_the_socket_took_nothing_is_sent_on_the_next_connection() {
    let mut pipeline = Harness::new(Role::Commands);
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
    let mut pipeline = Harness::connected(Role::Commands);
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
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[pipeline.read(1, &["GET", "a"])]);
    pipeline.pass(TIMEOUT);
    let frozen = pipeline.pipeline.tick(pipeline.now).unwrap_err();
    assert!(frozen.message.contains("server:1"), "{}", frozen.message);
    assert_eq!(pipeline.answers(), answers(&[(1, "TIMEOUT")]));
}

#[test]
fn an_idle_connection_is_asked_whether_it_is_alive() {
    let mut pipeline = Harness::connected(Role::Commands);
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

/// With a server down the first calls failed after 0.6 s, by the number of attempts, although their timeout was 5 s.
#[test]
fn without_a_connection_requests_wait_so_many_and_so_long() {
    let mut pipeline = Harness::new(Role::Commands);
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
    // From then on the reply has its time.
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
    let mut pipeline = Harness::new(Role::Commands);
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
    let mut pipeline = Harness::new(Role::Commands);
    pipeline.pipeline.connect(1);
    for _ in 0..3 {
        assert_eq!(pipeline.answers(), []);
        let refused = Error::ours("CONNECTION", "refused");
        pipeline.pipeline.not_connected(&refused, false);
    }
    assert_eq!(pipeline.answers(), answers(&[(1, "CONNECTION")]));
}

/// What was called while there was a connection had half the time of what was called a moment later.
#[test]
fn what_is_to_be_sent_again_waits_as_long_as_what_was_not_sent() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[pipeline.read(1, &["GET", "a"]), pipeline.read(2, &["GET", "b"])]);
    pipeline.lose();
    pipeline.pass(QUEUE_TIMEOUT - SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["GET", "a"]]));
    // However often the connection is lost, there is an end to it.
    pipeline.lose();
    assert_eq!(pipeline.answers(), answers(&[(1, "CONNECTION")]));
    pipeline.pass(SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "TIMEOUT")]));
}

#[test]
fn an_endless_wait_for_a_connection_ends_with_the_store() {
    let mut pipeline = Harness::new(Role::Commands);
    pipeline.pipeline.limits.queue_timeout = Duration::from_secs(1 << 32);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.pipeline.close(9, pipeline.now);
    pipeline.pass(TIMEOUT);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, "TIMEOUT")]));
    assert!(pipeline.pipeline.is_done());
}

#[test]
fn a_refusal_is_told_to_all_who_wait_at_once() {
    let mut pipeline = Harness::new(Role::Commands);
    pipeline.pipeline.connect(1);
    pipeline.send(&[pipeline.read(2, &["GET", "a"])]);
    pipeline
        .pipeline
        .not_connected(&Error::reply("WRONGPASS no"), true);
    assert_eq!(pipeline.answers(), answers(&[(1, "WRONGPASS"), (2, "WRONGPASS")]));
}

fn script(harness: &Harness, id: Id) -> Request {
    let request = harness.write(id, &["EVAL", "return 1", "0"]);
    Request {
        subject: Subject::Script(Box::new(Script {
            sha1: [7; 20],
            head: "*3\r\n$7\r\nEVALSHA\r\n$1\r\nh\r\n".into(),
            tail: request.bytes.len() - "$1\r\n0\r\n".len(),
        })),
        ..request
    }
}

#[test]
fn a_script_is_sent_whole_once_for_each_connection() {
    let mut pipeline = Harness::connected(Role::Commands);
    let (whole, hash) = (
        sent(&[&["EVAL", "return 1", "0"]]),
        sent(&[&["EVALSHA", "h", "0"]]),
    );
    pipeline.send(&[script(&pipeline, 1), script(&pipeline, 2)]);
    assert_eq!(pipeline.written(), format!("{whole}{hash}"));
    pipeline
        .receive(":1\r\n-NOSCRIPT No matching script. Please use EVAL.\r\n")
        .unwrap();
    assert_eq!(pipeline.written(), whole);
    pipeline.receive(":1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, ":1\r\n"), (2, ":1\r\n")]));
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    pipeline.send(&[script(&pipeline, 3)]);
    assert_eq!(pipeline.written(), whole);
}

/// Over TLS the kernel went on taking bytes for a server that was gone: 895 of 900 calls failed over 940 s.
#[test]
fn bytes_that_are_taken_say_nothing_of_the_server() {
    let mut pipeline = Harness::new(Role::Commands);
    pipeline.connect(0, ServerRole::Master);
    for id in 0..TIMEOUT.as_secs() as u32 {
        assert!(pipeline.pipeline.tick(pipeline.now).is_ok());
        pipeline.send(&[pipeline.read(id, &["GET", "a"])]);
        let bytes = pipeline.pipeline.unsent().concat();
        pipeline.pipeline.taken(bytes.len());
        pipeline.pass(SECOND);
    }
    assert!(pipeline.pipeline.tick(pipeline.now).is_err());
}

/// A server closed idle connections while the process was frozen, and the first write was pushed into what was closed.
#[test]
fn a_connection_that_was_idle_is_looked_at_before_it_is_written_to() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.pass(SECOND);
    pipeline.socket.farewell.store(true, Ordering::Relaxed);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    assert_eq!(pipeline.written(), "");
    assert!(pipeline.pipeline.has_unsent());
    assert!(pipeline.pipeline.must_drain_first());
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "a"]]));
}

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

/// The name led to the new master a second after the failover: 966 writes failed in 20 s, until a restart.
#[test]
fn a_write_that_a_replica_refused_is_run_by_the_next_master() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"]), pipeline.read(2, &["GET", "a"])]);
    pipeline.written();
    pipeline.receive(READONLY).unwrap();
    assert!(pipeline.pipeline.misses_master());
    pipeline.send(&[pipeline.write(3, &["INCR", "b"]), pipeline.read(4, &["GET", "b"])]);
    assert_eq!(pipeline.written(), sent(&[&["GET", "b"]]));
    pipeline.receive("$-1\r\n$-1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "$-1\r\n"), (4, "$-1\r\n")]));
    // The same server again: reads go on, writes wait.
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Replica);
    assert!(pipeline.pipeline.misses_master());
    assert_eq!(pipeline.written(), "");
    assert!(!pipeline.pipeline.retire());
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "a"], &["INCR", "b"]]));
    pipeline.receive(":1\r\n:1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, ":1\r\n"), (3, ":1\r\n")]));
}

#[test]
fn a_write_that_a_replica_refused_waits_no_longer_than_for_a_connection() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.receive(READONLY).unwrap();
    pipeline.pass(QUEUE_TIMEOUT);
    pipeline.receive(">1\r\n+alive\r\n").unwrap();
    pipeline.pipeline.tick(pipeline.now).unwrap();
    let error = pipeline.error();
    assert!(
        error.message.starts_with("No master at server:1 within 10000 ms"),
        "{}",
        error.message
    );
}

#[test]
fn a_connection_that_is_replaced_first_answers_what_it_owes() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[pipeline.write(1, &["INCR", "a"]), pipeline.read(2, &["GET", "a"])]);
    pipeline.receive(READONLY).unwrap();
    assert!(pipeline.pipeline.retire());
    pipeline.written();
    pipeline.send(&[pipeline.read(3, &["GET", "b"])]);
    assert_eq!(pipeline.written(), "");
    assert!(pipeline.receive("$-1\r\n").is_err());
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "a"], &["GET", "b"]]));
}

#[test]
fn a_store_that_began_at_a_replica_stays_there() {
    for role in [ServerRole::Replica, ServerRole::Unknown] {
        let mut pipeline = Harness::new(Role::Commands);
        pipeline.connect(usize::MAX, role);
        pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
        pipeline.receive(READONLY).unwrap();
        assert_eq!(pipeline.answers(), answers(&[(1, READONLY)]));
        assert!(!pipeline.pipeline.misses_master());
    }
}

#[test]
fn a_transaction_that_was_refused_as_a_whole_is_run_by_the_next_master() {
    let refused = [
        format!("+OK\r\n{READONLY}-EXECABORT Transaction discarded because of previous errors.\r\n"),
        "+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: READONLY You can't write\r\n"
            .to_owned(),
    ];
    let answered = [
        format!("+OK\r\n+QUEUED\r\n*1\r\n{READONLY}"),
        "+OK\r\n-ERR READONLY\r\n-EXECABORT Transaction discarded because of previous errors.\r\n".to_owned(),
    ];
    for (reply, is_refused) in refused
        .iter()
        .map(|reply| (reply, true))
        .chain(answered.iter().map(|reply| (reply, false)))
    {
        let mut pipeline = Harness::connected(Role::Commands);
        let transaction = Request {
            replies: 3,
            shape: Shape::Transaction,
            ..pipeline.write(1, &["MULTI", "…"])
        };
        pipeline.send(&[transaction]);
        pipeline.receive(reply).unwrap();
        let expected = if is_refused {
            vec![]
        } else {
            answers(&[(1, reply)])
        };
        assert_eq!(pipeline.answers(), expected);
        assert_eq!(pipeline.pipeline.misses_master(), !reply.contains("ERR"));
    }
}

/// It may have written before it raised what looks like a replica's refusal.
#[test]
fn a_scripts_own_readonly_is_its_answer() {
    let mut pipeline = Harness::connected(Role::Commands);
    let reply = "-READONLY mine\r\n";
    pipeline.send(&[script(&pipeline, 1)]);
    pipeline.receive(reply).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, reply)]));
}

/// A server that never ends a reply had all the memory there is: over 2 GB, long after its TIMEOUT.
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
        let mut pipeline = Harness::connected(Role::Commands);
        pipeline.pipeline.limits.max_reply = 1 << 20;
        pipeline.send(&[pipeline.read(1, &["GET", "a"]), pipeline.read(2, &["GET", "b"])]);
        let received = pipeline.receive(reply);
        let Some(error) = error else {
            assert!(received.is_ok() && pipeline.buffer.is_empty());
            continue;
        };
        assert!(received.unwrap_err().message.contains(error));
        assert!(pipeline.error().message.contains(error));
        // It is not asked for again, and its neighbour is.
        pipeline.lose();
        pipeline.connect(usize::MAX, ServerRole::Master);
        assert_eq!(pipeline.written(), sent(&[&["GET", "b"]]));
    }
}

#[test]
fn what_the_transport_writes_nobody_else_does() {
    let mut pipeline = Harness::new(Role::Commands);
    let ping = sent(&[&["PING"]]);
    pipeline.connect(3, ServerRole::Master);
    pipeline.send(&[pipeline.read(1, &["PING"])]);
    assert!(pipeline.pipeline.has_unsent());
    let rest = pipeline.pipeline.unsent().concat();
    assert_eq!(rest, ping.as_bytes()[3..]);
    pipeline.send(&[pipeline.read(2, &["PING"])]);
    assert!(!pipeline.pipeline.has_unsent());
    pipeline.pipeline.taken(rest.len());
    assert_eq!(pipeline.pipeline.unsent().concat(), ping.as_bytes());
    pipeline.pipeline.taken(ping.len());
    assert!(pipeline.pipeline.unsent().is_empty());
    assert_eq!(pipeline.written(), ping[..3]);
}

const LENGTH: usize = 16 << 10;

fn bulk(length: usize) -> String {
    format!("${length}\r\n{}\r\n", "x".repeat(length))
}

/// How many replies of that length a server may owe, one to a connection that has not seen longer ones.
fn most(window: usize) -> usize {
    window / bulk(LENGTH).len()
}

/// A connection that has seen replies of 16 KB, and so many calls.
fn with_long_replies(round_trip: Duration, calls: u32) -> Harness {
    let mut pipeline = Harness::new(Role::Commands);
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

/// How many commands have been written since the last time.
fn commands(pipeline: &Harness) -> usize {
    pipeline.written().matches("GETSET").count()
}

/// The server had 2,000 replies of 16 KB in memory at once, and took four times as long for each.
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

/// With 10 ms to the server a window of 2 MB would leave the line idle for most of the time.
#[test]
fn a_far_server_may_owe_as_much_as_the_line_carries() {
    let pipeline = with_long_replies(Duration::from_millis(10), 1_000);
    assert!(commands(&pipeline).abs_diff(most(10_000_000)) <= 5);
    let mut pipeline = with_long_replies(Duration::from_secs(1), 5_000);
    let unsent = pipeline.pipeline.unsent().concat();
    let count = String::from_utf8(unsent).unwrap().matches("GETSET").count();
    assert!(count.abs_diff(most(32 << 20)) <= 5, "{count}");
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

/// Writes that had not been sent went to a server that had just refused to write.
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

/// The server worked for nobody, and a write was run long after its caller had been told that it may not have been.
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
    // However long they are, the server has something to do.
    for _ in 0..100 {
        pipeline.receive(&bulk(1 << 20)).unwrap();
    }
    pipeline.written();
    pipeline.send(&requests);
    assert_eq!(commands(&pipeline), 4);
}

#[test]
fn closing_waits_for_answers() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[pipeline.read(1, &["PING"])]);
    pipeline.pipeline.close(9, pipeline.now);
    assert!(!pipeline.pipeline.is_done());
    pipeline.receive("+PONG\r\n").unwrap();
    assert!(pipeline.pipeline.is_done());
    pipeline.pipeline.end();
    assert_eq!(pipeline.answers(), answers(&[(1, "+PONG\r\n"), (9, "_\r\n")]));
}

/// What may happen to a pipeline.
#[derive(Debug, Clone)]
enum Step {
    Read,
    Write,
    Reply,
    HalfReply,
    Lose,
    Connect(usize),
    Fail,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Read),
        4 => Just(Step::Write),
        6 => Just(Step::Reply),
        1 => Just(Step::HalfReply),
        1 => Just(Step::Lose),
        2 => (0_usize..200).prop_map(Step::Connect),
        1 => Just(Step::Fail),
        1 => (0_u64..6_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// Against a server that answers each command with its own number, whatever becomes of connections: everyone is answered just
    /// once, nobody with another's reply, and no write runs twice.
    #[test]
    fn everyone_gets_one_answer_and_it_is_theirs(steps in steps()) {
        let mut harness = Harness::new(Role::Commands);
        let (mut id, mut connected) = (0, false);
        let mut executed: Vec<Id> = Vec::new();
        let (mut unread, mut outgoing) = (String::new(), String::new());
        let mut outcomes: Vec<(Id, String)> = Vec::new();
        for step in steps {
            match step {
                Step::Read | Step::Write => {
                    id += 1;
                    let name = id.to_string();
                    let request = if matches!(step, Step::Read) { harness.read(id, &["R", &name]) } else { harness.write(id, &["W", &name]) };
                    harness.send(&[request]);
                }
                Step::Reply | Step::HalfReply => {
                    unread += &harness.written();
                    if let Some((words, rest)) = unread.strip_prefix("*2\r\n").and_then(|rest| {
                        let parts: Vec<&str> = rest.splitn(5, "\r\n").collect();
                        (parts.len() == 5).then(|| (format!("{} {}", parts[1], parts[3]), parts[4].to_owned()))
                    }) {
                        let number: Id = words[2..].parse().unwrap();
                        if words.starts_with('W') { executed.push(number) }
                        outgoing += &format!(":{number}\r\n");
                        unread = rest;
                    }
                    let cut = if matches!(step, Step::HalfReply) { outgoing.len() / 2 } else { outgoing.len() };
                    let piece: String = outgoing.drain(..cut).collect();
                    if connected { harness.receive(&piece).unwrap(); }
                }
                Step::Lose if connected => { connected = false; harness.lose(); }
                Step::Fail if !connected => harness.pipeline.not_connected(&Error::ours("CONNECTION", "no"), false),
                Step::Connect(room) if !connected => {
                    (connected, unread, outgoing) = (true, String::new(), String::new());
                    harness.connect(room, ServerRole::Master);
                }
                Step::Pass(milliseconds) => {
                    harness.pass(Duration::from_millis(milliseconds));
                    if harness.pipeline.tick(harness.now).is_err() { connected = false; harness.lose(); }
                }
                _ => {}
            }
            outcomes.extend(harness.answers());
        }
        harness.pipeline.end();
        outcomes.extend(harness.answers());
        let mut answered: Vec<Id> = outcomes.iter().map(|(id, _)| *id).collect();
        answered.sort_unstable();
        prop_assert_eq!(answered, (1..=id).collect::<Vec<_>>());
        for (id, outcome) in &outcomes {
            prop_assert!(!outcome.starts_with(':') || *outcome == format!(":{id}\r\n"), "{id} got {outcome}");
        }
        executed.sort_unstable();
        let once = executed.len();
        executed.dedup();
        prop_assert_eq!(executed.len(), once);
    }
}

/// A script that raised this error itself was sent again and again, thousands of times, and did its work each time.
#[test]
fn a_scripts_own_noscript_is_its_answer() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[script(&pipeline, 1)]);
    pipeline.written();
    let reply = "-NOSCRIPT No matching script of mine\r\n";
    pipeline.receive(reply).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, reply)]));
    assert_eq!(pipeline.written(), "");
}

/// It went behind requests with later deadlines, and was only looked at when they were due.
#[test]
fn a_script_that_is_sent_again_keeps_its_deadline() {
    let mut pipeline = Harness::connected(Role::Commands);
    pipeline.send(&[script(&pipeline, 1), script(&pipeline, 2)]);
    pipeline.pass(TIMEOUT - SECOND);
    pipeline.send(&[pipeline.read(3, &["GET", "a"])]);
    pipeline
        .receive(":1\r\n-NOSCRIPT No matching script. Please use EVAL.\r\n")
        .unwrap();
    assert_eq!(
        pipeline.pipeline.tick(pipeline.now).unwrap(),
        pipeline.now + SECOND
    );
    pipeline.pass(SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, ":1\r\n"), (2, "TIMEOUT")]));
    pipeline.receive("$-1\r\n:1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(3, "$-1\r\n")]));
}

/// A value that looked like the error made the store leave a healthy connection, each time it was read in a MULTI.
#[test]
fn a_value_in_a_transaction_is_no_error_of_the_servers() {
    for (reply, fine) in [("$14\r\n\r\n-READONLY no\r\n", true), ("-READONLY no\r\n", false)] {
        let mut pipeline = Harness::connected(Role::Commands);
        let transaction = Request {
            replies: 3,
            shape: Shape::Transaction,
            ..pipeline.write(1, &["MULTI", "…"])
        };
        pipeline.send(&[transaction]);
        pipeline
            .receive(&format!("+OK\r\n+QUEUED\r\n*1\r\n{reply}"))
            .unwrap();
        assert_eq!(pipeline.pipeline.misses_master(), !fine, "{reply:?}");
    }
}

#[test]
fn after_its_end_everything_is_answered_at_once() {
    let mut pipeline = Harness::connected(Role::Subscriptions);
    pipeline.pipeline.end();
    pipeline.send(&[pipeline.read(1, &["GET", "a"])]);
    pipeline.pipeline.connect(2);
    pipeline.pipeline.close(3, pipeline.now);
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "CLOSED"), (2, "CLOSED"), (3, "_\r\n")])
    );
}
