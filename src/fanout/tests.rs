//! The registry alone. `__test__/fanout` tests it on real servers.

mod ways;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::channel::Channel;
use super::item::{Item, Notice, Token};
use super::registry::{Counters, Reached, Registry, Tracked};
use super::thread::Thread;
use crate::redis::completions::Gap;

fn new_thread() -> Arc<Thread> {
    Thread::new(|| true)
}

fn events(thread: &Thread) -> Vec<(Token, String, String)> {
    let item = |item| match item {
        Item::Event {
            handler,
            subscription,
            event,
        } => (handler, subscription.to_string(), event.to_string()),
        other => panic!("{other:?}"),
    };
    thread.take(usize::MAX).into_iter().map(item).collect()
}

#[test]
fn an_event_goes_to_the_thread_that_has_the_handler() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h1", 1, &a);
    registry.register("h2", 2, &b);
    assert_eq!(registry.track("h1", "s1"), Tracked::Here);
    assert_eq!(registry.track("h2", "s2"), Tracked::Here);
    assert_eq!(registry.track("h3", "s3"), Tracked::Nowhere);
    assert_eq!(registry.publish("s1", "{}", &a), Reached::ThisThread);
    assert_eq!(registry.publish("s2", "{}", &a), Reached::OtherThread);
    assert_eq!(registry.publish("s3", "{}", &a), Reached::Nobody);
    assert_eq!(events(&a), [(1, "s1".into(), "{}".into())]);
    assert_eq!(events(&b), [(2, "s2".into(), "{}".into())]);
}

#[test]
fn a_handler_that_is_registered_again_keeps_its_subscriptions() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h", 1, &a);
    registry.track("h", "s");
    assert_eq!(registry.register("h", 2, &a), Some(1));
    assert_eq!(registry.register("h", 3, &b), None);
    assert!(matches!(a.take_notices()[..], [Notice::Gone(2)]));
    registry.publish("s", "{}", &a);
    assert_eq!(events(&b), [(3, "s".into(), "{}".into())]);
    assert_eq!(
        (a.demand(), b.demand(), registry.handler_count()),
        ((0, 0), (1, 0), 1)
    );
}

/// Events that wait for a handler are lost when it is registered again.
#[test]
fn what_waits_for_a_handler_that_is_replaced_is_the_new_ones() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h", 1, &a);
    registry.track("h", "s");
    registry.publish("s", "1", &b);
    registry.register("h", 2, &a);
    registry.publish("s", "2", &b);
    let expected = |token, event: &str| (token, "s".to_owned(), event.to_owned());
    assert_eq!(events(&a), [expected(2, "1"), expected(2, "2")]);
    registry.publish("s", "3", &b);
    registry.register("h", 3, &b);
    assert!(a.take(9).is_empty());
    assert!(matches!(&b.take(9)[..], [Item::Invalidate { handler: 3, .. }]));
}

/// The end of an aborted stream unregisters the stream that a client opens in its place.
#[test]
fn a_handler_is_unregistered_by_its_token_only_where_it_is_still_the_one() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h", 1, &a);
    registry.register("h", 1, &b);
    assert_eq!(registry.unregister("h", Some(1), &a), None);
    assert_eq!(registry.handler_count(), 1);
    assert_eq!(registry.unregister("h", Some(1), &b), Some(1));
}

/// When an event is dropped for lack of room, the handler that no longer has the subscription must not be told.
#[test]
fn a_subscription_that_moves_takes_along_that_something_waited() {
    let (registry, a) = (Registry::default(), new_thread());
    registry.register("h1", 1, &a);
    registry.register("h2", 2, &a);
    registry.track("h1", "s");
    registry.publish("s", "1", &a);
    registry.track("h2", "s");
    registry.track("h2", "s");
    registry.publish("s", "2", &a);
    let taken = a.take(9);
    assert!(matches!(
        &taken[..],
        [
            Item::Invalidate { handler: 2, .. },
            Item::Event { handler: 2, .. }
        ]
    ));
}

#[test]
fn a_subscription_has_one_owner() {
    let (registry, a) = (Registry::default(), new_thread());
    registry.register("h1", 1, &a);
    registry.register("h2", 2, &a);
    registry.track("h1", "s");
    registry.track("h2", "s");
    registry.unregister("h1", None, &a);
    assert_eq!(registry.publish("s", "{}", &a), Reached::ThisThread);
    assert_eq!(events(&a), [(2, "s".into(), "{}".into())]);
    registry.untrack("s");
    registry.untrack("s");
    assert_eq!(registry.publish("s", "{}", &a), Reached::Nobody);
}

#[test]
fn a_thread_takes_all_it_has_with_it() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h1", 1, &a);
    registry.register("h2", 2, &b);
    registry.track("h1", "s1");
    registry.track("h2", "s2");
    registry.watch("users", 3, &a);
    registry.watch("users", 4, &b);
    registry.remove_thread(&a);
    assert_eq!(registry.publish("s1", "{}", &b), Reached::Nobody);
    assert_eq!((a.demand(), b.demand()), ((0, 0), (1, 1)));
    let counts = (
        registry.handler_count(),
        registry.subscription_count(),
        registry.watcher_count(None),
    );
    assert_eq!(counts, (1, 1, 1));
}

#[test]
fn messages_are_counted_and_go_to_those_they_are_for() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h", 1, &a);
    registry.track("h", "s");
    let message = br#"{"type":"added","subscriptionId":"s","event":{"n":1}}"#;
    registry.event(message, |thread| Arc::ptr_eq(thread, &b));
    registry.event(message, |thread| Arc::ptr_eq(thread, &a));
    registry.event(b"{", |_| true);
    assert_eq!(events(&a), [(1, "s".into(), r#"{"n":1}"#.into())]);
    let Counters {
        seen,
        delivered,
        not_local,
        malformed,
        ..
    } = &registry.counters;
    let counts = [seen, delivered, not_local, malformed].map(|counter| counter.load(Ordering::Relaxed));
    assert_eq!(counts, [3, 1, 1, 1]);
    registry.watch("users", 2, &a);
    registry.aggregate(br#"{"resource":"users"}"#, |_| true, |_| true);
    registry.aggregate(br#"{"resource":"users"}"#, |_| false, |_| true);
    assert_eq!(a.take(9), [Item::Changed { watcher: 2 }]);
}

#[test]
fn a_gap_invalidates_each_subscription_and_calls_each_watcher() {
    let (registry, a, b) = (Registry::default(), new_thread(), new_thread());
    registry.register("h", 1, &a);
    registry.track("h", "s1");
    registry.track("h", "s2");
    registry.watch("users", 2, &a);
    registry.register("other", 3, &b);
    registry.track("other", "s3");
    let now = std::time::SystemTime::now();
    let gap = Gap::until_now(now, None);
    let threads = [a.clone()];
    registry.missed(&[Channel::Events], &gap, &threads);
    registry.missed(&[Channel::Events, Channel::Aggregate], &gap, &threads);
    assert_eq!(a.take_notices().len(), 2);
    let taken = a.take(9);
    let invalidated = taken
        .iter()
        .filter(|item| matches!(item, Item::Invalidate { .. }))
        .count();
    assert_eq!((taken.len(), invalidated, b.take(9).len()), (3, 2, 0));
}
