//! Random histories of a pipeline.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What may happen to a pipeline.
#[derive(Debug, Clone)]
enum Step {
    Read,
    Write,
    Reply,
    HalfReply,
    Lose,
    Connect(usize),
    Fail,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Read),
        4 => Just(Step::Write),
        6 => Just(Step::Reply),
        1 => Just(Step::HalfReply),
        1 => Just(Step::Lose),
        2 => (0_usize..200).prop_map(Step::Connect),
        1 => Just(Step::Fail),
        1 => (0_u64..6_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// Against a server that answers each command with its own number, whatever becomes of connections: everyone is answered just
    /// once, nobody with another's reply, and no write runs twice.
    #[test]
    fn everyone_gets_one_answer_and_it_is_theirs(steps in steps()) {
        let mut harness = Harness::new(Role::Commands);
        let (mut id, mut connected) = (0, false);
        let mut executed: Vec<Id> = Vec::new();
        let (mut unread, mut outgoing) = (String::new(), String::new());
        let mut outcomes: Vec<(Id, String)> = Vec::new();
        for step in steps {
            match step {
                Step::Read | Step::Write => {
                    id += 1;
                    let name = id.to_string();
                    let request = if matches!(step, Step::Read) { harness.read(id, &["R", &name]) } else { harness.write(id, &["W", &name]) };
                    harness.send(&[request]);
                }
                Step::Reply | Step::HalfReply => {
                    unread += &harness.written();
                    if let Some((words, rest)) = unread.strip_prefix("*2\r\n").and_then(|rest| {
                        let parts: Vec<&str> = rest.splitn(5, "\r\n").collect();
                        (parts.len() == 5).then(|| (format!("{} {}", parts[1], parts[3]), parts[4].to_owned()))
                    }) {
                        let number: Id = words[2..].parse().unwrap();
                        if words.starts_with('W') { executed.push(number) }
                        outgoing += &format!(":{number}\r\n");
                        unread = rest;
                    }
                    let cut = if matches!(step, Step::HalfReply) { outgoing.len() / 2 } else { outgoing.len() };
                    let piece: String = outgoing.drain(..cut).collect();
                    if connected { harness.receive(&piece).unwrap(); }
                }
                Step::Lose if connected => { connected = false; harness.lose(); }
                Step::Fail if !connected => harness.pipeline.not_connected(&Error::ours("CONNECTION", "no"), false),
                Step::Connect(room) if !connected => {
                    (connected, unread, outgoing) = (true, String::new(), String::new());
                    harness.connect(room, ServerRole::Master);
                }
                Step::Pass(milliseconds) => {
                    harness.pass(Duration::from_millis(milliseconds));
                    if harness.pipeline.tick(harness.now).is_err() { connected = false; harness.lose(); }
                }
                _ => {}
            }
            outcomes.extend(harness.answers());
        }
        harness.pipeline.end();
        outcomes.extend(harness.answers());
        let mut answered: Vec<Id> = outcomes.iter().map(|(id, _)| *id).collect();
        answered.sort_unstable();
        prop_assert_eq!(answered, (1..=id).collect::<Vec<_>>());
        for (id, outcome) in &outcomes {
            prop_assert!(!outcome.starts_with(':') || *outcome == format!(":{id}\r\n"), "{id} got {outcome}");
        }
        executed.sort_unstable();
        let once = executed.len();
        executed.dedup();
        prop_assert_eq!(executed.len(), once);
    }
}
