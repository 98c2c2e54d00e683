use super::*;

mod certain;
mod refuted;

pub fn at(port: u16) -> Endpoint {
    let host = "h".to_owned();
    Endpoint::Tcp { host, port }
}

pub struct Clock(pub Instant, pub Board);

impl Clock {
    pub fn new(count: usize) -> Self {
        let nodes: Vec<_> = (0..count).map(|index| at(11 + index as u16)).collect();
        Self(Instant::now(), Board::new(&nodes))
    }

    fn pass(&mut self, milliseconds: u64) {
        self.0 += Duration::from_millis(milliseconds);
    }

    pub fn says(&mut self, index: usize, port: u16) {
        self.1.answered(index, Some(at(port)), self.0, self.0);
    }

    pub fn fails(&mut self, index: usize) {
        let failure = Failure::temporary(Reason::Refused, "refused".to_owned());
        self.1.failed(index, failure, self.0);
    }

    /// A server says that it is a replica.
    fn refutes(&mut self, port: u16) {
        self.1.refuted(&at(port), self.0, self.0);
    }

    fn expect(&self, port: u16) {
        assert_eq!(self.1.master(), Some(&at(port)));
    }
}

#[test]
fn the_first_answer_counts_until_a_majority_says_otherwise() {
    let mut clock = Clock::new(3);
    clock.says(0, 1);
    clock.expect(1);
    clock.says(1, 2);
    clock.expect(1);
    clock.says(2, 2);
    clock.expect(2);
}

// A Sentinel that is cut off goes on naming the old master, and clients go back and forth (node-redis-sentinel PR#53 and others).
#[test]
fn a_change_counts_at_once_and_who_has_not_seen_it_does_not() {
    let mut clock = Clock::new(3);
    for index in 0..3 {
        clock.says(index, 1);
    }
    clock.pass(400);
    clock.says(0, 2);
    clock.expect(2);
    for _ in 0..2 {
        clock.pass(100);
        clock.says(1, 1);
        clock.says(2, 1);
        clock.expect(2);
    }
    clock.pass(10);
    clock.says(1, 2);
    for _ in 0..100 {
        clock.pass(500);
        clock.says(2, 1);
        clock.says(0, 2);
        clock.says(1, 2);
        clock.expect(2);
    }
}

// The Sentinels had followed a failover. One that was restarted from its first configuration named the old master, and was believed for
// five seconds: what was written there in that time was lost.
#[test]
fn a_master_that_was_left_is_believed_again_only_by_a_majority() {
    let mut clock = Clock::new(3);
    for port in [1, 2] {
        for index in 0..3 {
            clock.says(index, port);
        }
    }
    clock.fails(0);
    clock.pass(500);
    clock.says(0, 1);
    clock.expect(2);
    clock.pass(100);
    clock.says(1, 1);
    clock.expect(1);
}

// A process that was started after the failover does not know the old master. A Sentinel that is restarted with its first configuration
// moves all stores of that process there, against two others.
#[test]
fn what_a_sentinel_says_after_a_reconnect_is_no_news() {
    let mut clock = Clock::new(3);
    for index in 0..3 {
        clock.says(index, 2);
    }
    clock.fails(0);
    clock.pass(500);
    clock.says(0, 1);
    clock.expect(2);
    // With what it tells on that connection it is heard again.
    clock.says(0, 3);
    clock.expect(3);
}

// SENTINEL REMOVE and MONITOR on one Sentinel, with the address of an old master: all stores move there.
#[test]
fn a_sentinel_that_is_told_of_the_master_anew_is_no_news() {
    let mut clock = Clock::new(3);
    for index in 0..3 {
        clock.says(index, 2);
    }
    clock.1.answered(0, None, clock.0, clock.0);
    clock.says(0, 1);
    clock.expect(2);
}

// While a process is cut off from all Sentinels there is a failover. If the first word after it does not count, the store stays where it is.
#[test]
fn what_a_sentinel_says_after_a_reconnect_counts_if_no_other_answers() {
    let mut clock = Clock::new(2);
    for port in [1, 2] {
        clock.says(0, port);
        clock.says(1, port);
    }
    clock.fails(0);
    clock.fails(1);
    clock.pass(100);
    clock.says(0, 3);
    clock.expect(3);
}

// As above, with a Sentinel that is cut off too: a majority is believed at once, and not five seconds after the last change.
#[test]
fn a_majority_counts_at_once_after_a_reconnect_too() {
    let mut clock = Clock::new(3);
    for port in [1, 2] {
        for index in 0..3 {
            clock.says(index, port);
        }
    }
    clock.fails(0);
    clock.fails(1);
    clock.pass(100);
    clock.says(0, 3);
    clock.expect(2);
    clock.says(1, 3);
    clock.expect(3);
}

#[test]
fn a_majority_that_stays_is_believed_in_the_end() {
    let mut clock = Clock::new(3);
    for index in 0..3 {
        clock.says(index, 1);
    }
    clock.says(0, 2);
    clock.fails(0);
    for _ in 0..11 {
        clock.pass(500);
        clock.says(1, 1);
        clock.says(2, 1);
    }
    clock.expect(1);
}

// The leader of a failover tells its end a second after it has named the new master. By then the others may have seen the next failover, and
// all stores leave the present master for the one before.
#[test]
fn the_late_end_of_a_failover_is_no_news() {
    let mut clock = Clock::new(3);
    for port in [1, 2] {
        for index in 0..3 {
            clock.says(index, port);
        }
    }
    clock.says(1, 3);
    clock.says(2, 3);
    clock.expect(3);
    clock.1.switched(0, at(2), clock.0);
    clock.expect(3);
    // It is, of one whose connection was lost meanwhile.
    clock.fails(0);
    clock.1.switched(0, at(2), clock.0);
    clock.expect(2);
}

// The old and the new name of one Sentinel, say. With two votes it is more than another that has seen the failover, and most of three.
#[test]
fn a_sentinel_that_is_given_by_two_addresses_has_one_vote() {
    let clock = |ids: &[&str]| {
        let mut clock = Clock::new(ids.len());
        for (index, id) in ids.iter().enumerate() {
            assert!(clock.1.introduced(index, Some((*id).to_owned())));
            clock.says(index, 1);
        }
        clock
    };
    let mut cut_off = clock(&["a", "b", "b"]);
    cut_off.says(0, 2);
    cut_off.pass(6_000);
    cut_off.says(1, 1);
    cut_off.says(2, 1);
    cut_off.expect(2);
    // Nor does it confirm alone what it names, or count as one that does not answer.
    for (ids, fail, confirms) in [
        (&["a", "b", "b"][..], &[0][..], false),
        (&["a", "b", "b"], &[1], true),
        (&["a", "b", "c", "c"], &[2, 3], true),
    ] {
        let mut clock = clock(ids);
        clock.pass(1_000);
        for index in fail {
            clock.fails(*index);
        }
        let asked = (0..ids.len()).rfind(|index| !fail.contains(index));
        clock.says(asked.unwrap(), 1);
        let is_confirmed = clock.1.confirmed(&at(1)) == Some(clock.0);
        assert_eq!(is_confirmed, confirms, "{ids:?} without {fail:?}");
    }
}

#[test]
fn a_master_is_confirmed_when_it_is_named() {
    let mut clock = Clock::new(2);
    clock.says(0, 1);
    clock.pass(300);
    clock.says(1, 1);
    let confirmed = clock.0;
    clock.pass(400);
    clock.says(0, 2);
    assert_eq!(clock.1.confirmed(&at(1)), Some(confirmed));
    assert_eq!(clock.1.confirmed(&at(2)), Some(clock.0));
    assert_eq!(clock.1.confirmed(&at(3)), None);
}

// Who subscribed first at the new master was told of no gap, though a publisher had not followed yet.
#[test]
fn a_master_counts_as_left_for_a_while_after_another_is_believed() {
    let left = |clock: &Clock| clock.1.left_within(Duration::from_millis(700), clock.0);
    let mut clock = Clock::new(1);
    clock.says(0, 1);
    assert_eq!(left(&clock), None);
    let confirmed = clock.0;
    clock.pass(500);
    clock.says(0, 2);
    clock.pass(600);
    clock.says(0, 2);
    assert_eq!(left(&clock), Some(confirmed));
    clock.pass(100);
    assert_eq!(left(&clock), None);
}

#[test]
fn who_is_at_another_server_than_the_master_is_told_so() {
    let mut clock = Clock::new(1);
    assert_eq!(clock.1.next(None, clock.0), None);
    clock.says(0, 1);
    assert_eq!(clock.1.next(None, clock.0), Some(NextMaster::Named(at(1))));
    assert_eq!(clock.1.next(Some(&at(1)), clock.0), None);
    clock.1.promoting(at(2), clock.0);
    assert_eq!(
        clock.1.next(Some(&at(1)), clock.0),
        Some(NextMaster::Promoting(at(2)))
    );
    clock.1.promoted(at(2), clock.0);
    assert_eq!(
        clock.1.next(Some(&at(1)), clock.0),
        Some(NextMaster::Named(at(2)))
    );
    // The Sentinel says so a second later.
    clock.pass(900);
    clock.says(0, 1);
    clock.expect(2);
    clock.1.promoting(at(3), clock.0);
    clock.pass(3_000);
    assert_eq!(clock.1.next(Some(&at(2)), clock.0), None);
}

// ioredis #1364, bullmq #3093: "All sentinels are unreachable", with the cause hidden.
#[test]
fn why_no_master_is_known_is_told_for_each_sentinel() {
    let mut clock = Clock::new(2);
    let since = clock.0;
    let outcome = |clock: &Clock| clock.1.outcome("m", since);
    clock.fails(0);
    assert!(outcome(&clock).is_none());
    clock.fails(1);
    let Some(Err(failure)) = outcome(&clock) else {
        panic!("it was found")
    };
    assert_eq!(failure.error.tag(), "CONNECTION no-sentinel");
    assert_eq!(
        failure.error.message,
        "No Sentinel could be asked for the master \"m\": h:11: refused; h:12: refused"
    );
    clock.1.answered(1, None, clock.0, clock.0);
    let Some(Err(failure)) = outcome(&clock) else {
        panic!("it was found")
    };
    assert_eq!(failure.error.tag(), "CONNECTION unknown-master");
    assert_eq!(
        failure.error.message,
        "No Sentinel knows a master \"m\": h:11: refused; h:12: it knows none of this name"
    );
    clock.says(1, 1);
    assert!(matches!(outcome(&clock), Some(Ok(master)) if master == at(1)));
}
