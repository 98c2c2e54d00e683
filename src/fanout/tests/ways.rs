//! What comes by the own channel of a subscription and by the fleet's, in one order.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::backlog::{MAX_ITEMS, Message};
use crate::fanout::channel::EVENTS;
use crate::fanout::streams::{Fanout, Streams};
use crate::fanout::ways::{Passages, Way, Ways};
use crate::redis::completions::{CompletionBatch, CompletionQueue, Gap};
use crate::redis::config::Config;
use crate::redis::subscriber::listener::Listener;
use crate::redis::tests::config::options;

const OWN: &str = "covara:events:1:posts";
const OTHER: &str = "covara:events:2:posts";
/// The marks of three changes, in turn.
const MARKS: [&str; 3] = [" ", "\t", "\n"];

fn by(channel: &'static str, subscription: &str, event: &str, mark: &str) -> Message {
    let text = format!(r#"{{"type":"added","subscriptionId":"{subscription}","event":{event}}}{mark}"#);
    Message {
        pattern: None,
        channel: Bytes::from_static(channel.as_bytes()),
        payload: text.into(),
    }
}

fn own(event: &str, mark: &str) -> Message {
    by(OWN, "1:posts", event, mark)
}

fn fleet(event: &str, mark: &str) -> Message {
    by(EVENTS, "1:posts", event, mark)
}

/// The events of a batch, without what is around them.
fn events(batch: CompletionBatch) -> Vec<String> {
    let (messages, _) = batch.backlog.into_parts();
    let event = |message: Message| {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        let (_, event) = text.split_once(r#""event":"#).unwrap();
        event.strip_suffix('}').unwrap().to_owned()
    };
    messages.into_iter().map(event).collect()
}

fn all(_: &Message) -> bool {
    true
}

/// What is given at once, and what the others wait for.
fn come(ways: &Ways, messages: Vec<Message>) -> (Vec<String>, Option<Passages>) {
    let mut batch = CompletionBatch::default();
    for message in messages {
        batch.backlog.push(message);
    }
    let passages = ways.lock().hold(&mut batch, all);
    (events(batch), passages)
}

/// What is given when a passage is over.
fn passed(ways: &Ways, way: Way, passages: &Passages) -> Vec<String> {
    let subscriptions = match way {
        Way::Fleet => &passages.fleet,
        Way::Own => &passages.own,
    };
    let subscriptions: Vec<_> = subscriptions.iter().cloned().collect();
    let mut batch = CompletionBatch::default();
    ways.lock()
        .has_passed(way, &subscriptions, passages.until, &mut batch);
    events(batch)
}

fn size(ways: &Ways) -> (usize, usize) {
    let state = ways.lock();
    (state.messages, state.bytes)
}

#[test]
fn what_has_no_mark_waits_for_nothing() {
    let ways = Ways::default();
    let (given, none) = come(&ways, vec![own("1", ""), fleet("2", ""), own("3", "")]);
    assert_eq!(given, ["1", "2", "3"]);
    assert!(none.is_none());
}

// The last character is the publisher's own.
#[test]
fn what_is_no_event_has_no_mark() {
    let ways = Ways::default();
    for text in ["hello ", "\n", "{} ", r#"["type"]"#, ""] {
        let mut message = fleet("1", "");
        message.payload = Bytes::from_static(text.as_bytes());
        let mut batch = CompletionBatch::default();
        batch.backlog.push(message);
        assert!(ways.lock().hold(&mut batch, all).is_none());
        let (given, _) = batch.backlog.into_parts();
        assert_eq!(given[0].payload, text);
    }
}

#[test]
fn a_change_to_the_own_channel_waits_for_a_passage_that_began_later() {
    let ways = Ways::default();
    let other = by(OTHER, "2:posts", "3", "");
    let (given, first) = come(&ways, vec![own("1", MARKS[0]), fleet("2", ""), other]);
    assert_eq!(given, ["2", "3"]);
    let (given, none) = come(&ways, vec![own("4", "")]);
    assert!(given.is_empty(), "it would overtake the first");
    assert!(none.is_none());
    let (_, second) = come(&ways, vec![own("5", MARKS[2])]);
    assert_eq!(passed(&ways, Way::Fleet, &first.unwrap()), ["1", "4"]);
    assert_eq!(passed(&ways, Way::Fleet, &second.unwrap()), ["5"]);
    assert_eq!(size(&ways), (0, 0));
}

// The own channel's home has moved. A publisher that finds no subscriber there must not use the fleet's channel, whose home is read first.
#[test]
fn a_change_to_the_fleets_channel_is_behind_what_the_own_ones_home_had_sent() {
    let ways = Ways::default();
    let (given, passages) = come(&ways, vec![fleet("2", MARKS[0]), fleet("3", "")]);
    assert!(given.is_empty());
    assert_eq!(come(&ways, vec![own("1", "")]).0, ["1"]);
    assert_eq!(passed(&ways, Way::Own, &passages.unwrap()), ["2", "3"]);
    assert_eq!(size(&ways), (0, 0));
}

#[test]
fn two_changes_are_told_apart_by_their_marks() {
    for (first, second) in [(0, 1), (1, 2), (2, 0)] {
        // There and back, whichever passage is over first.
        let ways = Ways::default();
        let (_, owns) = come(&ways, vec![own("2", MARKS[second])]);
        let (_, fleets) = come(&ways, vec![fleet("1", MARKS[first])]);
        assert!(passed(&ways, Way::Fleet, &owns.unwrap()).is_empty());
        assert_eq!(passed(&ways, Way::Own, &fleets.unwrap()), ["1", "2"]);
        let ways = Ways::default();
        let (_, fleets) = come(&ways, vec![fleet("2", MARKS[second])]);
        let (_, owns) = come(&ways, vec![own("1", MARKS[first])]);
        assert!(passed(&ways, Way::Own, &fleets.unwrap()).is_empty());
        assert_eq!(passed(&ways, Way::Fleet, &owns.unwrap()), ["1", "2"]);
    }
}

#[test]
fn changes_of_two_publishers_with_one_mark_both_come() {
    let ways = Ways::default();
    let (_, passages) = come(&ways, vec![own("1", MARKS[0]), fleet("2", MARKS[0])]);
    let passages = passages.unwrap();
    assert!(passed(&ways, Way::Own, &passages).is_empty());
    assert_eq!(passed(&ways, Way::Fleet, &passages), ["1", "2"]);
}

/// Has a gap come, and gives what is told at once.
fn gap_comes(ways: &Ways, messages: Vec<Message>) -> CompletionBatch {
    let mut batch = CompletionBatch::default();
    for message in messages {
        batch.backlog.push(message);
    }
    batch.push_gap(Gap::until_now(SystemTime::now(), None));
    ways.lock().hold(&mut batch, all);
    batch
}

// Who reads its state again after a gap must be behind none of the events. Given early for the gap, they would be in another order.
#[test]
fn a_gap_comes_behind_all_that_is_held() {
    let ways = Ways::default();
    let (_, first) = come(&ways, vec![fleet("1", MARKS[0])]);
    let batch = gap_comes(&ways, vec![fleet("2", "")]);
    assert!(batch.gap.is_none() && batch.backlog.is_empty());
    let (_, last) = come(&ways, vec![fleet("3", MARKS[1])]);
    let Passages { own, until, .. } = first.unwrap();
    let own: Vec<_> = own.into_iter().collect();
    let mut batch = CompletionBatch::default();
    ways.lock().has_passed(Way::Own, &own, until, &mut batch);
    assert!(batch.gap.is_some(), "3 came later");
    assert_eq!(events(batch), ["1", "2"]);
    assert_eq!(passed(&ways, Way::Own, &last.unwrap()), ["3"]);
}

#[test]
fn a_gap_is_told_at_once_where_nothing_is_held() {
    let batch = gap_comes(&Ways::default(), vec![own("1", "")]);
    assert!(batch.gap.is_some());
    assert_eq!(events(batch), ["1"]);
}

#[test]
fn what_is_held_of_a_subscription_that_has_ended_is_dropped_and_no_gap_waits_for_it() {
    let ways = Ways::default();
    let (_, passages) = come(&ways, vec![own("1", MARKS[0]), fleet("2", MARKS[1])]);
    assert!(gap_comes(&ways, vec![]).gap.is_none());
    let mut batch = CompletionBatch::default();
    ways.lock().leave(b"1:posts", &mut batch);
    assert!(batch.gap.is_some() && batch.backlog.is_empty());
    assert!(passed(&ways, Way::Fleet, &passages.unwrap()).is_empty());
    assert_eq!(size(&ways), (0, 0));
}

// The home of the own channel is frozen, and its passage not over.
#[test]
fn more_than_there_is_room_for_is_told_as_a_gap() {
    let ways = Ways::default();
    let before = SystemTime::now();
    come(&ways, vec![fleet("0", MARKS[0])]);
    for _ in 1..MAX_ITEMS {
        come(&ways, vec![fleet("1", "")]);
    }
    assert_eq!(size(&ways).0, MAX_ITEMS);
    let mut batch = CompletionBatch::default();
    batch.backlog.push(fleet("2", MARKS[1]));
    ways.lock().hold(&mut batch, all);
    let (given, overflow) = batch.backlog.into_parts();
    assert_eq!(given.len(), MAX_ITEMS);
    assert!(overflow.is_some_and(|since| since >= before && since <= SystemTime::now()));
    assert_eq!(size(&ways).0, 1);
}

/// The channel is live before the store has joined: a turn of JavaScript lies between. Held until a passage that never runs, the event keeps
/// every later gap back.
#[test]
fn what_comes_before_the_store_has_joined_is_given() {
    let (wake, woken) = channel();
    let completions = Arc::new(CompletionQueue::new(move || wake.send(()).is_ok()));
    let config = Arc::new(Config::new(options()).unwrap());
    let streams = Streams::new(Fanout::Targeted, 1, &config, completions.clone());
    let mut batch = CompletionBatch::default();
    batch.backlog.push(fleet("1", MARKS[0]));
    streams.put(batch);
    woken.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(completions.take_messages(1).0.len(), 1);
}
