//! A gap that has another master at its end.

use super::*;

/// So long publishers may still use the old master.
const FOLLOWED: Duration = Duration::from_millis(700);
const MISSED: Duration = Duration::from_secs(1);

impl Subscriber {
    /// Leads to another master than the connection that was lost.
    fn hand_over(&mut self) {
        let until = self.now + FOLLOWED;
        self.pipeline.widen_gap(MISSED, until);
        self.connect();
    }

    fn subscribed(&mut self, name: &str) {
        self.receive(&push(&["subscribe", name, "1"])).unwrap();
    }

    fn keep(&mut self, name: &str) {
        let now = self.now;
        self.pipeline
            .keep(0, &channel(name), Priority::First, Arc::default(), now);
        self.deliver();
    }

    /// Where the time has come to which a connection waits, as the supervisor does.
    fn pass_tick(&mut self, time: Duration) {
        let next = self.tick().unwrap();
        self.pass(time);
        assert!(next <= self.now, "nobody asks at that moment");
        self.tick().unwrap();
    }

    fn told(&self) -> Option<Gap> {
        self.recorder.0.lock().gap.take()
    }
}

fn moved() -> Subscriber {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.subscribed("a");
    harness.lose();
    harness.hand_over();
    harness.subscribed("a");
    harness
}

/// A publisher that learns of another master later than the subscriber publishes at the old one, where nobody listens, behind the gap.
#[test]
fn a_gap_lasts_until_all_have_followed_the_master() {
    let mut harness = moved();
    assert!(harness.told().is_none());
    harness.receive(&push(&["message", "a", "x"])).unwrap();
    assert_eq!(harness.heard(), ["a x"]);
    harness.pass(FOLLOWED - Duration::from_millis(1));
    harness.tick().unwrap();
    assert!(harness.told().is_none());
    harness.pass_tick(Duration::from_millis(1));
    let gap = harness.told().unwrap();
    assert!(gap.to.duration_since(gap.from).unwrap() >= MISSED);
    // It is told once.
    harness.pass(FOLLOWED);
    harness.tick().unwrap();
    assert!(harness.told().is_none());
}

#[test]
fn a_gap_waits_for_what_is_not_subscribed_yet_too() {
    let mut harness = Subscriber::connected();
    harness.subscribe(1, "a");
    harness.subscribed("a");
    harness.lose();
    harness.hand_over();
    harness.pass_tick(FOLLOWED);
    assert!(harness.told().is_none());
    harness.subscribed("a");
    assert!(harness.told().is_some());
}

#[test]
fn the_gap_of_a_connection_to_the_same_master_waits_for_nothing() {
    let mut harness = moved();
    harness.pass_tick(FOLLOWED);
    assert!(harness.told().is_some());
    harness.lose();
    harness.connect();
    harness.subscribed("a");
    assert!(harness.told().is_some());
}

#[test]
fn one_gap_spans_two_handovers() {
    let mut harness = moved();
    harness.pass(FOLLOWED / 2);
    harness.lose();
    harness.hand_over();
    harness.subscribed("a");
    harness.pass(FOLLOWED / 2);
    harness.tick().unwrap();
    assert!(harness.told().is_none());
    harness.pass_tick(FOLLOWED / 2);
    assert!(harness.told().is_some());
    harness.pass(FOLLOWED);
    harness.tick().unwrap();
    assert!(harness.told().is_none());
}

/// The time comes while there is no connection: it must neither end the gap, nor be waited for again and again.
#[test]
fn without_a_connection_a_gap_does_not_end() {
    let mut harness = moved();
    harness.lose();
    harness.pass_tick(FOLLOWED);
    assert!(harness.told().is_none());
    let next = harness.tick().unwrap();
    assert!(next > harness.now);
    harness.connect();
    harness.subscribed("a");
    assert!(harness.told().is_some());
}

#[test]
fn who_leaves_before_the_end_is_told_of_no_gap() {
    let mut harness = moved();
    harness.unsubscribe(Some(2), "a");
    harness.receive(&push(&["unsubscribe", "a", "0"])).unwrap();
    assert_eq!(harness.answers(), answers(&[(1, "_\r\n"), (2, "_\r\n")]));
    harness.pass_tick(FOLLOWED);
    assert!(harness.told().is_none());
}

/// What is subscribed at the new master while others publish at the old one has missed as much.
#[test]
fn what_is_subscribed_before_the_end_is_told_of_the_gap() {
    let mut harness = moved();
    harness.unsubscribe(None, "a");
    harness.receive(&push(&["unsubscribe", "a", "0"])).unwrap();
    harness.subscribe(2, "b");
    harness.subscribed("b");
    assert_eq!(harness.answers(), answers(&[(1, "_\r\n"), (2, "_\r\n")]));
    harness.pass_tick(FOLLOWED);
    assert!(harness.told().is_some());
}

/// Whether anything was subscribed at the move changes nothing for what is subscribed behind it.
#[test]
fn what_is_subscribed_first_before_the_end_is_told_of_the_gap() {
    for is_left in [false, true] {
        let mut harness = Subscriber::connected();
        if is_left {
            harness.keep("a");
            harness.subscribed("a");
        }
        harness.lose();
        harness.unsubscribe(None, "a");
        harness.hand_over();
        harness.subscribe(1, "b");
        harness.subscribed("b");
        assert!(harness.told().is_none());
        harness.pass_tick(FOLLOWED);
        let gap = harness.told().unwrap();
        assert!(gap.to.duration_since(gap.from).unwrap() >= MISSED);
        assert_eq!(gap.node.as_deref(), Some("server:1"));
    }
}

#[test]
fn what_is_subscribed_behind_the_end_is_told_of_no_gap() {
    for is_lost in [false, true] {
        let mut harness = Subscriber::connected();
        harness.lose();
        harness.hand_over();
        if is_lost {
            harness.lose();
        }
        harness.pass(FOLLOWED);
        if is_lost {
            harness.connect();
        } else {
            harness.tick().unwrap();
        }
        harness.subscribe(1, "b");
        harness.subscribed("b");
        harness.tick().unwrap();
        assert!(harness.told().is_none());
    }
}

#[test]
fn who_disconnects_does_not_wait_for_the_end() {
    let mut harness = moved();
    let now = harness.now;
    let closing = harness.pipeline.leave(0, 2, now).unwrap();
    harness.deliver();
    harness.pipeline.close(closing, now);
    harness.receive(&push(&["unsubscribe", "a", "0"])).unwrap();
    assert!(harness.pipeline.is_done());
    harness.pipeline.end();
    harness.deliver();
    assert_eq!(harness.answers(), answers(&[(1, "_\r\n"), (2, "_\r\n")]));
    assert!(harness.told().is_none());
}

/// What is left while a connection retires waits. Sent by the next one, UNSUBSCRIBE comes behind the SUBSCRIBE of who listens anew: the topic
/// counts as live, and nothing comes for good.
#[test]
fn what_is_left_while_a_connection_retires_is_not_left_at_the_next_one() {
    let mut harness = Subscriber::connected();
    harness.keep("a");
    harness.subscribed("a");
    harness.subscribe(1, "c");
    assert!(harness.pipeline.retire());
    harness.unsubscribe(Some(2), "a");
    harness.written();
    harness.lose();
    assert_eq!(harness.answers(), answers(&[(2, "_\r\n")]));
    harness.keep("a");
    harness.connect();
    assert_eq!(
        harness.written(),
        sent(&[&["SUBSCRIBE", "a"], &["SUBSCRIBE", "c"]])
    );
}

/// Asked for once more, what is kept while a connection retires has two answers. The second one counts for another topic, and the gap ends
/// before that is live.
#[test]
fn what_is_kept_while_a_connection_retires_is_asked_for_once() {
    let mut harness = Subscriber::connected();
    harness.keep("a");
    harness.subscribed("a");
    harness.keep_batched("own");
    harness.subscribed("own");
    harness.subscribe(1, "c");
    assert!(harness.pipeline.retire());
    harness.pass(Duration::from_millis(1));
    harness.keep("b");
    harness.written();
    harness.lose();
    harness.connect();
    assert_eq!(harness.written().matches("\r\nb\r\n").count(), 1);
    for name in ["a", "b", "c"] {
        harness.subscribed(name);
    }
    harness.send_batch();
    assert!(harness.told().is_none());
    harness.subscribed("own");
    assert!(harness.told().is_some());
}
