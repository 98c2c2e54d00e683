use super::*;
use crate::redis::runtime;
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
        let desired = Desired {
            place,
            is_batched: false,
            state: Arc::default(),
        };
        subscriber.lock().topics.insert(news(), desired);
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
