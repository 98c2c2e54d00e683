use super::*;
use crate::redis::pipeline::Health;
use crate::redis::request::Role;
use crate::redis::runtime;
use crate::redis::subscriber::crossing::is_gone;
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::places::{Crossing, Desired, Place};
use crate::redis::tests::cluster::unreachable;

fn node(port: u16) -> Endpoint {
    let host = "127.0.0.1".to_owned();
    Endpoint::Tcp { host, port }
}

/// Of news, between homes that are connected to no longer.
fn crossing(subscriber: &ClusterSubscriber, from: u16, to: u16) -> Crossing {
    let crossings = &mut subscriber.lock().crossings;
    crossings.begin(node(from), node(to), None, vec![news()], None)
}

fn subscribe(subscriber: &ClusterSubscriber, place: Place) {
    let desired = Desired {
        place,
        is_batched: false,
        state: Arc::default(),
    };
    subscriber.lock().topics.insert(news(), desired);
}

fn depart(subscriber: &ClusterSubscriber, crossing: &Crossing) {
    let departure = Departure {
        listener: 0,
        topics: crossing.leaving.clone(),
        node: crossing.from.to_string().into(),
        channel: crossing.channel.clone(),
    };
    let listener = &subscriber.listener;
    listener.departed(&departure, &[news()].into(), SystemTime::now(), false);
}

fn run(subscriber: &Arc<ClusterSubscriber>, crossing: Crossing) {
    let crossed = crossing.run(Arc::downgrade(subscriber), subscriber.listener.clone());
    runtime::get().unwrap().block_on(crossed);
}

/// The topic is unsubscribed and subscribed anew while it crosses, and moves on by another crossing. If the end of the first one ends the
/// gap, what is missed until the second one has brought it home is never told.
#[test]
fn a_crossing_ends_no_gap_of_the_next_one() {
    for has_arrived in [false, true] {
        let recorder = Arc::<Recorder>::default();
        let subscriber = ClusterSubscriber::join(&unreachable(TIMEOUT), recorder.clone()).unwrap();
        let (first, second) = (crossing(&subscriber, 1, 2), crossing(&subscriber, 2, 3));
        let place = if has_arrived {
            Place::At(node(3))
        } else {
            Place::Crossing(second.number)
        };
        subscribe(&subscriber, place);
        depart(&subscriber, &second);
        run(&subscriber, first);
        assert_eq!(recorder.heard(), ["gap began"]);
        subscriber.listener.subscribed(&news());
        assert_eq!(recorder.heard(), ["subscribed", "gap"]);
    }
}

/// Unsubscribed as the answer comes by which it departs, the topic is neither at the old home nor at the new one. Waited for, it would keep
/// every gap from its end.
#[test]
fn a_crossing_ends_the_gap_of_what_was_left() {
    let recorder = Arc::<Recorder>::default();
    let subscriber = ClusterSubscriber::join(&unreachable(TIMEOUT), recorder.clone()).unwrap();
    let crossing = crossing(&subscriber, 1, 2);
    depart(&subscriber, &crossing);
    run(&subscriber, crossing);
    assert_eq!(recorder.heard(), ["gap began", "gap"]);
}

/// Its slot has no master any more before the topic has left the old home. Subscribed at the new one as well, it would bring each message twice.
#[test]
fn a_crossing_that_is_given_up_leaves_its_topics_where_they_are() {
    let recorder = Arc::<Recorder>::default();
    let subscriber = ClusterSubscriber::join(&unreachable(TIMEOUT), recorder).unwrap();
    let old = subscriber.home_at(&node(1));
    let crossing = {
        let crossings = &mut subscriber.lock().crossings;
        crossings.begin(node(1), node(2), old, vec![news()], None)
    };
    subscribe(&subscriber, Place::Crossing(crossing.number));
    run(&subscriber, crossing);
    let places = subscriber.lock();
    let homes: Vec<_> = places.homes.keys().collect();
    assert_eq!(homes, [&node(1)]);
    assert_eq!(places.heard_at(&news()), Some(&node(1)));
}

/// A home that is cut off may have published what the bus still brings. Only its host can say that it is gone.
#[test]
fn a_home_that_cannot_be_reached_is_not_gone() {
    let health = |reason| Health {
        role: Role::Subscriptions,
        is_ready: false,
        node: None,
        since: Instant::now() - Duration::from_secs(3),
        heard: None,
        in_flight: 0,
        waiting: 0,
        failures: 1,
        cause: Some(Error::because(reason, "lost")),
    };
    assert!(is_gone(&health(Reason::Refused)));
    // A proxy in front of a home accepts, and closes at once.
    for reason in [
        Reason::Unreachable,
        Reason::NoAnswer,
        Reason::ClosedAtOnce,
        Reason::Tls,
        Reason::Silent,
    ] {
        assert!(!is_gone(&health(reason)), "{reason:?}");
    }
}
