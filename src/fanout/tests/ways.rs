//! What comes by the own channel of a subscription and by the fleet's, in one order.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::backlog::{MAX_MESSAGES, Message};
use crate::fanout::channel::EVENTS;
use crate::fanout::ways::{Passages, Ways};
use crate::redis::completions::{CompletionBatch, Gap};
use crate::redis::config::Limits;
use crate::redis::request::{Kind, Topic};
use crate::redis::subscriber::passage::Passed;

const OWN: &str = "covara:events:1:posts";
const OTHER: &str = "covara:events:2:posts";

fn by(channel: &'static str, payload: String) -> Message {
    Message {
        pattern: None,
        channel: Bytes::from_static(channel.as_bytes()),
        payload: payload.into(),
    }
}

fn own(event: &str) -> Message {
    by(OWN, event.to_owned())
}

fn fleet(event: &str) -> Message {
    by(
        EVENTS,
        format!(r#"{{"type":"added","subscriptionId":"1:posts","event":{event}}}"#),
    )
}

fn topic() -> Topic {
    Topic {
        kind: Kind::Shard,
        name: Bytes::from_static(OWN.as_bytes()),
    }
}

fn limits() -> Limits {
    Limits {
        timeout: Duration::from_secs(5),
        queue_timeout: Duration::from_secs(10),
        max_queue: 3,
        max_retries: None,
        max_reply: 1 << 20,
    }
}

fn live() -> Ways {
    let ways = Ways::default();
    ways.is_live(&topic(), &limits());
    ways
}

/// When the own channel is new no more.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(17)
}

/// The events of a batch, without what is around them.
fn events(batch: CompletionBatch) -> Vec<String> {
    let (messages, _) = batch.backlog.into_parts();
    let event = |message: Message| {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        match text.split_once(r#""event":"#) {
            Some((_, event)) => event.trim_end_matches('}').to_owned(),
            None => text,
        }
    };
    messages.into_iter().map(event).collect()
}

/// What is given at once, and what the others wait for.
fn come(ways: &Ways, messages: Vec<Message>, now: Instant) -> (Vec<String>, Option<Passages>) {
    let mut batch = CompletionBatch::default();
    for message in messages {
        batch.backlog.push(message);
    }
    let passages = ways.lock().hold(&mut batch, now);
    (events(batch), passages)
}

fn fleet_passed(ways: &Ways, passages: &Passages) -> Vec<String> {
    let mut batch = CompletionBatch::default();
    ways.lock()
        .fleet_has_passed(&passages.fleet, passages.until, &mut batch);
    events(batch)
}

fn own_passed(ways: &Ways, passages: &Passages, is_live: bool) -> Vec<String> {
    let topics = passages.own.iter().cloned();
    let passed: Vec<_> = topics.map(|topic| Passed { topic, is_live }).collect();
    let mut batch = CompletionBatch::default();
    ways.lock().own_have_passed(&passed, passages.until, &mut batch);
    events(batch)
}

fn size(ways: &Ways) -> (usize, usize) {
    let state = ways.lock();
    (state.messages, state.bytes)
}

#[test]
fn what_comes_by_a_new_channel_waits_for_a_passage_that_began_later() {
    let ways = live();
    let now = Instant::now();
    let other = by(OTHER, "3".to_owned());
    let (given, first) = come(
        &ways,
        vec![own("1"), by("covara:aggregate", "2".to_owned()), other],
        now,
    );
    assert_eq!(given, ["2", "3"]);
    let (given, second) = come(&ways, vec![own("4")], now);
    assert!(given.is_empty());
    assert_eq!(fleet_passed(&ways, &first.unwrap()), ["1"]);
    assert_eq!(fleet_passed(&ways, &second.unwrap()), ["4"]);
}

#[test]
fn a_channel_that_is_new_no_more_waits_only_for_its_own_messages() {
    let ways = live();
    let (_, first) = come(&ways, vec![own("1")], Instant::now());
    let (given, second) = come(&ways, vec![own("2")], later());
    assert!(given.is_empty(), "it would overtake the first");
    assert_eq!(fleet_passed(&ways, &first.unwrap()), ["1"]);
    assert_eq!(fleet_passed(&ways, &second.unwrap()), ["2"]);
    let (given, none) = come(&ways, vec![own("3")], later());
    assert_eq!(given, ["3"]);
    assert!(none.is_none());
}

// The own channel's home had moved: a publisher found nobody there and used the fleet's, whose home was read first.
#[test]
fn what_comes_by_the_fleets_channel_is_behind_what_the_own_ones_home_had_sent() {
    let ways = live();
    let (given, fleets) = come(&ways, vec![fleet("2"), fleet("3")], later());
    assert!(given.is_empty());
    assert_eq!(come(&ways, vec![own("1")], later()).0, ["1"]);
    assert_eq!(own_passed(&ways, &fleets.unwrap(), false), ["2", "3"]);
    assert_eq!(size(&ways), (0, 0));
}

#[test]
fn the_same_while_the_own_channel_is_new() {
    let ways = live();
    let now = Instant::now();
    let (_, fleets) = come(&ways, vec![fleet("2")], now);
    let (_, owns) = come(&ways, vec![own("1")], now);
    assert!(fleet_passed(&ways, &owns.unwrap()).is_empty(), "which is first?");
    assert_eq!(own_passed(&ways, &fleets.unwrap(), false), ["1", "2"]);
}

#[test]
fn a_publisher_that_has_just_found_the_own_channel_is_heard_in_order_too() {
    let ways = live();
    let now = Instant::now();
    let (_, owns) = come(&ways, vec![own("2")], now);
    let (_, fleets) = come(&ways, vec![fleet("1")], now);
    assert!(fleet_passed(&ways, &owns.unwrap()).is_empty(), "which is first?");
    // What comes later than the passage does not precede it.
    let (_, later) = come(&ways, vec![fleet("3")], now);
    assert_eq!(own_passed(&ways, &fleets.unwrap(), true), ["1", "2"]);
    assert_eq!(own_passed(&ways, &later.unwrap(), true), ["3"]);
}

#[test]
fn what_comes_by_a_new_home_is_behind_what_the_fleets_brought_meanwhile() {
    let ways = live();
    let (_, fleets) = come(&ways, vec![fleet("1")], later());
    ways.is_live(&topic(), &limits());
    let (_, owns) = come(&ways, vec![own("2")], Instant::now());
    assert!(fleet_passed(&ways, &owns.unwrap()).is_empty());
    assert_eq!(own_passed(&ways, &fleets.unwrap(), true), ["1", "2"]);
}

/// Has a gap come, and gives what is told at once.
fn gap_comes(ways: &Ways, messages: Vec<Message>) -> CompletionBatch {
    let mut batch = CompletionBatch::default();
    for message in messages {
        batch.backlog.push(message);
    }
    let time = SystemTime::now();
    batch.push_gap(Gap {
        from: time,
        to: time,
        node: None,
    });
    ways.lock().hold(&mut batch, later());
    batch
}

// Who reads its state again after a gap must be behind none of the events. Given early for the gap, they would be in another order.
#[test]
fn a_gap_comes_behind_all_that_is_held() {
    let ways = live();
    let (_, fleets) = come(&ways, vec![fleet("1")], later());
    let batch = gap_comes(&ways, vec![fleet("2")]);
    assert!(batch.gap.is_none() && batch.backlog.is_empty());
    let (_, last) = come(&ways, vec![fleet("3")], later());
    assert_eq!(own_passed(&ways, &fleets.unwrap(), true), ["1"]);
    let until = last.as_ref().unwrap().until - 1;
    let passed = Passed {
        topic: topic(),
        is_live: true,
    };
    let mut batch = CompletionBatch::default();
    ways.lock().own_have_passed(&[passed], until, &mut batch);
    assert!(batch.gap.is_some(), "3 came later");
    assert_eq!(events(batch), ["2"]);
    assert_eq!(own_passed(&ways, &last.unwrap(), true), ["3"]);
}

#[test]
fn a_gap_is_told_at_once_where_nothing_is_held() {
    let batch = gap_comes(&live(), vec![by(OTHER, "1".to_owned())]);
    assert!(batch.gap.is_some());
    assert_eq!(events(batch), ["1"]);
}

#[test]
fn a_gap_waits_for_no_subscription_that_is_left() {
    let ways = live();
    come(&ways, vec![fleet("1")], later());
    assert!(gap_comes(&ways, vec![]).gap.is_none());
    let mut batch = CompletionBatch::default();
    ways.lock().leave(&topic(), &mut batch);
    assert!(batch.gap.is_some());
}

#[test]
fn what_is_held_of_a_channel_that_is_left_is_dropped() {
    let ways = live();
    let (_, owns) = come(&ways, vec![own("1"), fleet("2")], Instant::now());
    ways.lock().leave(&topic(), &mut CompletionBatch::default());
    assert!(fleet_passed(&ways, &owns.unwrap()).is_empty());
    assert_eq!(size(&ways), (0, 0));
    assert_eq!(come(&ways, vec![fleet("3")], Instant::now()).0, ["3"]);
}

// The home of the own channel is frozen, and its passage not over.
#[test]
fn more_than_there_is_room_for_is_told_as_a_gap() {
    let ways = live();
    let before = SystemTime::now();
    for _ in 0..MAX_MESSAGES {
        come(&ways, vec![fleet("1")], later());
    }
    assert_eq!(size(&ways).0, MAX_MESSAGES);
    let mut batch = CompletionBatch::default();
    batch.backlog.push(fleet("2"));
    ways.lock().hold(&mut batch, later());
    let (given, overflow) = batch.backlog.into_parts();
    assert_eq!(given.len(), MAX_MESSAGES);
    assert!(overflow.is_some_and(|since| since >= before && since <= SystemTime::now()));
    assert_eq!(size(&ways).0, 1);
}
