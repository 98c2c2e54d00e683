//! Servers that are named as the master and say that they are replicas.

use super::*;

// Two Sentinels, one of which is cut off and names a master that has become a replica. Believed first, it led every attempt there for good.
#[test]
fn a_replica_that_is_named_as_the_master_loses_to_any_other_that_is_named() {
    let mut clock = Clock::new(2);
    clock.says(0, 1);
    clock.says(1, 2);
    clock.expect(1);
    clock.refutes(1);
    clock.expect(2);
    for _ in 0..20 {
        clock.pass(500);
        clock.says(0, 1);
        clock.says(1, 2);
        clock.expect(2);
    }
}

// No other is known when it says that it is a replica: the next that is named counts, whoever has more votes.
#[test]
fn what_is_named_after_a_replica_is_believed_at_once() {
    let mut clock = Clock::new(3);
    clock.says(0, 1);
    clock.says(1, 1);
    clock.refutes(1);
    clock.expect(1);
    clock.says(2, 2);
    clock.expect(2);
    clock.pass(500);
    clock.says(0, 1);
    clock.expect(2);
}

// A refused master that is one again must not be shunned: nothing else may be there.
#[test]
fn who_was_a_replica_is_believed_again_after_a_while_or_once_it_is_news() {
    let refuted = || {
        let mut clock = Clock::new(3);
        clock.says(0, 1);
        clock.says(1, 1);
        clock.says(2, 2);
        clock.refutes(1);
        clock.expect(2);
        clock
    };
    let mut clock = refuted();
    clock.pass(5_000);
    clock.says(0, 1);
    clock.expect(1);
    let mut clock = refuted();
    clock.says(2, 1);
    clock.expect(1);
    let mut clock = refuted();
    clock.1.switched(2, at(1), clock.0);
    clock.expect(1);
    let mut clock = refuted();
    clock.1.promoted(at(1), clock.0);
    clock.says(2, 2);
    clock.expect(1);
}

// It says that it is the master now: a Sentinel that comes back with an old master must not win against it.
#[test]
fn a_replica_that_says_that_it_is_the_master_is_refuted_no_more() {
    let mut clock = Clock::new(2);
    clock.says(0, 1);
    clock.refutes(1);
    clock.1.admitted(&at(1));
    clock.says(1, 2);
    clock.expect(1);
}

// The attempt began before the Sentinels named it: what it says there is from before its promotion.
#[test]
fn what_a_server_said_before_it_was_named_refutes_nothing() {
    let mut clock = Clock::new(2);
    clock.says(0, 1);
    clock.says(1, 1);
    let asked = clock.0;
    clock.pass(100);
    clock.says(0, 2);
    clock.1.refuted(&at(2), asked, clock.0);
    clock.expect(2);
    clock.refutes(3);
    clock.expect(2);
}
