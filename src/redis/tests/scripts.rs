//! EVAL and EVALSHA.

use std::time::Duration;

use super::*;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_script_is_sent_whole_once_for_each_connection() {
    let mut pipeline = Harness::<Commands>::connected();
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

/// A script that raises this error itself must not be sent again thousands of times: it does its work each time.
#[test]
fn a_scripts_own_noscript_is_its_answer() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[script(&pipeline, 1)]);
    pipeline.written();
    let reply = "-NOSCRIPT No matching script of mine\r\n";
    pipeline.receive(reply).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, reply)]));
    assert_eq!(pipeline.written(), "");
}

/// The script goes behind requests with later deadlines, and its deadline is checked only when theirs are due.
#[test]
fn a_script_that_is_sent_again_keeps_its_deadline() {
    let mut pipeline = Harness::<Commands>::connected();
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
