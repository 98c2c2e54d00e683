use super::*;

// A GET of a value longer than the server's client-output-buffer-limit must not be sent again until its time is over. Each attempt ends a
// connection, with the writes behind the GET.

#[test]
fn a_read_with_which_the_connection_was_lost_twice_fails() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.read(1, &["GET", "huge"])]);
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["GET", "huge"]]));
    pipeline.lose();
    let error = pipeline.error();
    assert!(error.message.contains("lost twice"), "{}", error.message);
    assert!(
        error.message.contains("client-output-buffer-limit"),
        "{}",
        error.message
    );
    assert_eq!(error.cause.clone().unwrap().message, "reset");
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), "");
}

#[test]
fn what_was_sent_behind_it_is_lost_once() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[
        pipeline.read(1, &["GET", "huge"]),
        pipeline.write(2, &["INCR", "n"]),
        pipeline.read(3, &["GET", "b"]),
    ]);
    pipeline.lose();
    assert_eq!(pipeline.answers(), answers(&[(2, "CONNECTION")]));
    pipeline.connect(usize::MAX, ServerRole::Master);
    pipeline.send(&[pipeline.write(4, &["INCR", "m"])]);
    pipeline.written();
    pipeline.lose();
    assert_eq!(pipeline.answers(), answers(&[(1, "CONNECTION")]));
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["GET", "b"], &["INCR", "m"]]));
    pipeline.receive("$1\r\nB\r\n:1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(3, "$1\r\nB\r\n"), (4, ":1\r\n")]));
}

#[test]
fn a_read_that_is_answered_at_last_lets_the_others_follow() {
    let mut pipeline = Harness::<Commands>::connected();
    let reads = [1, 2, 3].map(|id| pipeline.read(id, &["GET", "k"]));
    pipeline.send(&reads);
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["GET", "k"]]));
    pipeline.receive("$1\r\n1\r\n").unwrap();
    assert_eq!(pipeline.written(), sent(&[&["GET", "k"], &["GET", "k"]]));
    pipeline.receive("$1\r\n2\r\n$1\r\n3\r\n").unwrap();
    assert_eq!(
        pipeline.answers(),
        answers(&[(1, "$1\r\n1\r\n"), (2, "$1\r\n2\r\n"), (3, "$1\r\n3\r\n")])
    );
}

// The read may have been called after a write that has never been sent, so it waits for that.
#[test]
fn such_a_read_waits_until_nothing_is_owed() {
    let mut pipeline = Harness::<Commands>::new();
    let first = pipeline.write(1, &["INCR", "n"]);
    pipeline.connect(usize::MAX, ServerRole::Master);
    pipeline.send(&[pipeline.read(2, &["GET", "k"])]);
    pipeline.lose();
    pipeline.send(&[first]);
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "n"]]));
    pipeline.receive(":1\r\n").unwrap();
    assert_eq!(pipeline.written(), sent(&[&["GET", "k"]]));
}

/// Counted as an attempt, a loss has `connect` to a cluster fail before as many have failed as `maxRetries` says.
#[test]
fn a_loss_is_no_failed_attempt() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.lose();
    let refused = Error::ours("CONNECTION", "refused");
    let delay = Duration::from_millis(50);
    for failures in 0..3 {
        pipeline
            .pipeline
            .reconnecting(failures + 1, delay, refused.clone());
        assert_eq!(pipeline.pipeline.health().failures, failures);
        pipeline.pipeline.not_connected(&refused, false);
    }
}
