//! EVAL and EVALSHA.

use std::time::Duration;

use super::*;
const SECOND: Duration = Duration::from_secs(1);

fn whole_and_hash() -> (String, String) {
    (
        sent(&[&["EVAL", "return 1", "0"]]),
        sent(&[&["EVALSHA", "h", "0"]]),
    )
}

/// A pipeline whose server has run the script.
fn with_known_script() -> Harness<Commands> {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[script(&pipeline, 0)]);
    pipeline.receive(":1\r\n").unwrap();
    pipeline.written();
    pipeline.answers();
    pipeline
}

#[test]
fn a_script_is_sent_whole_until_the_server_has_run_it() {
    let mut pipeline = Harness::<Commands>::connected();
    let (whole, hash) = whole_and_hash();
    pipeline.send(&[script(&pipeline, 1), script(&pipeline, 2)]);
    assert_eq!(pipeline.written(), format!("{whole}{whole}"));
    pipeline.receive(":1\r\n:1\r\n").unwrap();
    pipeline.send(&[script(&pipeline, 3)]);
    assert_eq!(pipeline.written(), hash);
    pipeline
        .receive("-NOSCRIPT No matching script. Please use EVAL.\r\n")
        .unwrap();
    assert_eq!(pipeline.written(), whole);
    pipeline.receive(":1\r\n").unwrap();
    let ran = [(1, ":1\r\n"), (2, ":1\r\n"), (3, ":1\r\n")];
    assert_eq!(pipeline.answers(), answers(&ran));
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    pipeline.send(&[script(&pipeline, 4)]);
    assert_eq!(pipeline.written(), whole);
}

// A server that refuses EVAL does not know the script. The next call went by the hash, and was sent again behind what was called after it.
#[test]
fn a_script_that_was_refused_is_sent_whole_again() {
    let (whole, _) = whole_and_hash();
    for refused in [
        "-OOM command not allowed\r\n",
        "!4\r\nBUSY\r\n",
        "-ERR Error compiling script\r\n",
    ] {
        let mut pipeline = Harness::<Commands>::connected();
        pipeline.send(&[script(&pipeline, 1)]);
        pipeline.receive(refused).unwrap();
        pipeline.written();
        pipeline.send(&[script(&pipeline, 2), pipeline.write(3, &["SET", "k", "new"])]);
        assert!(pipeline.written().starts_with(&whole), "{refused}");
    }
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
    let mut pipeline = with_known_script();
    pipeline.send(&[script(&pipeline, 2)]);
    pipeline.pass(TIMEOUT - SECOND);
    pipeline.send(&[pipeline.read(3, &["GET", "a"])]);
    pipeline
        .receive("-NOSCRIPT No matching script. Please use EVAL.\r\n")
        .unwrap();
    assert_eq!(
        pipeline.pipeline.tick(pipeline.now).unwrap(),
        pipeline.now + SECOND
    );
    pipeline.pass(SECOND);
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "TIMEOUT")]));
    pipeline.receive("$-1\r\n:1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(3, "$-1\r\n")]));
}
