//! Commands that a replica refuses.

use super::*;

/// The name leads to the new master a second after the failover. Without this 966 writes fail in 20 s, and all later ones until a restart.
#[test]
fn a_write_that_a_replica_refused_is_run_by_the_next_master() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.write(1, &["INCR", "a"]), pipeline.read(2, &["GET", "a"])]);
    pipeline.written();
    pipeline.receive(READONLY).unwrap();
    assert!(pipeline.pipeline.misses_master());
    pipeline.send(&[pipeline.write(3, &["INCR", "b"]), pipeline.read(4, &["GET", "b"])]);
    assert_eq!(pipeline.written(), sent(&[&["GET", "b"]]));
    pipeline.receive("$-1\r\n$-1\r\n").unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, "$-1\r\n"), (4, "$-1\r\n")]));
    // The store connects to the same replica again: reads go on, writes wait.
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
    let mut pipeline = Harness::<Commands>::connected();
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
    let mut pipeline = Harness::<Commands>::connected();
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

/// The socket is full when another master is named. What the old one reads from then on it acknowledges, and all of it is lost.
#[test]
fn a_connection_that_retires_sends_only_what_it_has_begun_to_send() {
    let command = |id: u32| ["INCR", ["a", "b", "c", "d"][id as usize - 1]];
    let length = sent(&[&command(1)]).len();
    // The transport is to write, or is writing.
    for is_writing in [false, true] {
        let mut pipeline = Harness::<Commands>::new();
        pipeline.connect(length + 1, ServerRole::Master);
        pipeline.send(&[1, 2, 3].map(|id| pipeline.write(id, &command(id))));
        if is_writing {
            assert_eq!(pipeline.pipeline.unsent().concat().len(), 2 * length - 1);
        }
        assert!(pipeline.pipeline.retire());
        pipeline.send(&[pipeline.write(4, &command(4))]);
        let rest = pipeline.pipeline.unsent().concat();
        assert_eq!(rest.len(), length - 1);
        pipeline.pipeline.note_written(rest.len());
        assert!(pipeline.pipeline.unsent().is_empty() && !pipeline.pipeline.has_unsent());
        assert!(pipeline.receive(":1\r\n:1\r\n").is_err());
        pipeline.lose();
        pipeline.connect(usize::MAX, ServerRole::Master);
        assert_eq!(pipeline.written(), sent(&[&command(3), &command(4)]));
        assert_eq!(pipeline.answers(), answers(&[(1, ":1\r\n"), (2, ":1\r\n")]));
    }
}

/// Of what it has not begun to send, it would wait for an answer that cannot come.
#[test]
fn a_connection_that_has_sent_nothing_of_what_it_owes_ends_at_once() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.connect(0, ServerRole::Master);
    // An order of deadlines that is checked from the front.
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.pass(TIMEOUT);
    _ = pipeline.pipeline.tick(pipeline.now);
    pipeline.send(&[pipeline.write(2, &["INCR", "b"])]);
    assert!(!pipeline.pipeline.retire());
    assert!(!pipeline.pipeline.has_unsent());
    _ = pipeline.pipeline.tick(pipeline.now);
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "b"]]));
    assert_eq!(pipeline.answers(), answers(&[(1, "TIMEOUT")]));
}

/// A master of Valkey that has become a replica tells the address of the new master: reads are sent there too.
#[test]
fn what_a_server_redirects_goes_to_the_next_connection_in_order() {
    const REDIRECT: &str = "-REDIRECT fe80::1:7\r\n";
    let mut pipeline = Harness::<Commands>::connected();
    let transaction = Request {
        replies: 3,
        shape: Shape::Transaction,
        ..pipeline.write(2, &["MULTI", "…"])
    };
    let calls = [
        pipeline.write(1, &["INCR", "a"]),
        transaction,
        pipeline.read(3, &["GET", "a"]),
    ];
    pipeline.send(&calls);
    pipeline.written();
    pipeline.receive(REDIRECT).unwrap();
    let queued = format!("+OK\r\n{REDIRECT}-EXECABORT Transaction discarded because of previous errors.\r\n");
    pipeline.receive(&queued).unwrap();
    let ended = pipeline.receive(REDIRECT).unwrap_err();
    assert_eq!(ended.message, "server:1 has become a replica of [fe80::1]:7");
    assert_eq!(pipeline.written(), "");
    let master = pipeline.pipeline.take_redirect();
    assert_eq!(
        master.map(|master| master.to_string()).as_deref(),
        Some("[fe80::1]:7")
    );
    assert_eq!(pipeline.pipeline.take_redirect(), None);
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(
        pipeline.written(),
        sent(&[&["INCR", "a"], &["MULTI", "…"], &["GET", "a"]])
    );
}

/// The old master says where the new one is when the store has moved already. Kept, that leads a much later attempt to who was the master
/// then, over what the Sentinels say.
#[test]
fn what_a_replaced_server_redirects_is_forgotten_with_the_next_connection() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.write(1, &["INCR", "a"])]);
    pipeline.written();
    assert!(pipeline.pipeline.retire());
    let ended = pipeline.receive("-REDIRECT h:7\r\n").unwrap_err();
    assert_eq!(ended.message, "server:1 has become a replica of h:7");
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    assert_eq!(pipeline.written(), sent(&[&["INCR", "a"]]));
    pipeline.lose();
    assert_eq!(pipeline.pipeline.take_redirect(), None);
}

/// A transaction whose EXEC has a result has run, even if the result holds a redirect.
#[test]
fn a_redirect_within_results_is_an_answer() {
    for reply in [
        "+OK\r\n+QUEUED\r\n*1\r\n-REDIRECT h:1\r\n",
        "+OK\r\n+QUEUED\r\n*1\r\n$15\r\n-REDIRECT h:1\r\n\r\n",
    ] {
        let mut pipeline = Harness::<Commands>::connected();
        let transaction = Request {
            replies: 3,
            shape: Shape::Transaction,
            ..pipeline.write(1, &["MULTI", "…"])
        };
        pipeline.send(&[transaction]);
        pipeline.receive(reply).unwrap();
        assert_eq!(pipeline.answers(), answers(&[(1, reply)]));
        assert_eq!(pipeline.pipeline.take_redirect(), None);
    }
}

/// Redis 6.2 tells a script's first write that it is a replica: EVAL was rejected, where the next master was to run it.
#[test]
fn a_script_that_a_replica_refuses_waits_for_a_master() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[super::script(&pipeline, 1), super::script(&pipeline, 2)]);
    pipeline.written();
    let within = "-ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.\r\n";
    pipeline.receive(within).unwrap();
    let raised = "-ERR Error running script (call to f_0): @user_script:1: user_script:1: -READONLY You can't write against a read only replica.\r\n";
    pipeline.receive(raised).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(2, raised)]));
    assert!(pipeline.pipeline.misses_master());
}

#[test]
fn a_store_that_began_at_a_replica_stays_there() {
    for role in [ServerRole::Replica, ServerRole::Unknown] {
        let mut pipeline = Harness::<Commands>::new();
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
        let mut pipeline = Harness::<Commands>::connected();
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

/// A user without MULTI: each command is run by itself. Sent again to a master, its PUBLISH would be heard twice.
#[test]
fn what_was_run_where_multi_is_refused_is_not_sent_again() {
    let mut pipeline = Harness::<Commands>::connected();
    let transaction = Request {
        replies: 4,
        shape: Shape::Transaction,
        ..pipeline.write(1, &["MULTI", "…"])
    };
    pipeline.send(&[transaction]);
    let reply = format!("-NOPERM no permissions\r\n:1\r\n{READONLY}-ERR EXEC without MULTI\r\n");
    pipeline.receive(&reply).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, &reply)]));
    assert!(pipeline.pipeline.misses_master());
}

/// The script may have written before it raised an error that looks like a replica's refusal.
#[test]
fn a_scripts_own_readonly_is_its_answer() {
    let mut pipeline = Harness::<Commands>::connected();
    let reply = "-READONLY mine\r\n";
    pipeline.send(&[script(&pipeline, 1)]);
    pipeline.receive(reply).unwrap();
    assert_eq!(pipeline.answers(), answers(&[(1, reply)]));
}

/// A value that looks like this error makes the store leave a healthy connection each time it is read in a MULTI.
#[test]
fn a_value_in_a_transaction_is_no_error_of_the_servers() {
    for (reply, fine) in [("$14\r\n\r\n-READONLY no\r\n", true), ("-READONLY no\r\n", false)] {
        let mut pipeline = Harness::<Commands>::connected();
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

/// Writes wait for a master while reads go on. One by one, a lost connection had each write pass all reads that were called later.
#[test]
fn what_waits_for_a_master_and_what_was_lost_are_one_queue_in_the_order_of_the_calls() {
    let mut pipeline = Harness::<Commands>::connected();
    pipeline.send(&[pipeline.write(1, &["INCR", "1"])]);
    pipeline.receive(READONLY).unwrap();
    for id in 2..=7 {
        pipeline.pass(Duration::from_millis(1));
        let name = id.to_string();
        let request = match id % 3 {
            0 => pipeline.write(id, &["INCR", &name]),
            _ => pipeline.read(id, &["GET", &name]),
        };
        pipeline.send(&[request]);
    }
    pipeline.lose();
    pipeline.connect(usize::MAX, ServerRole::Master);
    // The one that may have ended the connection goes alone.
    let mut written = pipeline.written();
    for reply in [":1\r\n", "$-1\r\n"] {
        pipeline.receive(reply).unwrap();
        written += &pipeline.written();
    }
    let name = |id: u32| {
        if id == 1 || id.is_multiple_of(3) {
            "INCR"
        } else {
            "GET"
        }
    };
    let calls: Vec<_> = (1..=7).map(|id| (name(id), id.to_string())).collect();
    let words: Vec<[&str; 2]> = calls.iter().map(|(name, id)| [*name, id.as_str()]).collect();
    let words: Vec<&[&str]> = words.iter().map(|words| &words[..]).collect();
    assert_eq!(written, sent(&words));
}

// Where `queueTimeout` is shorter than the handover, what the old master was not sent failed while the connection to the new one was there.
#[test]
fn what_a_retiring_connection_has_not_sent_has_its_time_for_the_next_one() {
    let mut pipeline = Harness::<Commands>::new();
    pipeline.pipeline.limits.queue_timeout = Duration::ZERO;
    pipeline.connect(1, ServerRole::Master);
    pipeline.send(&[1, 2].map(|id| pipeline.write(id, &["INCR", "a"])));
    assert!(pipeline.pipeline.retire());
    pipeline.pass(Duration::from_millis(100));
    pipeline.pipeline.tick(pipeline.now).unwrap();
    assert_eq!(pipeline.answers(), answers(&[]));
}
