//! Random histories of a pipeline.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The events of a history.
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

/// A server that answers each command with the number in it.
#[derive(Default)]
struct Server {
    unread: String,
    unsent: String,
    executed: Vec<Id>,
}

impl Server {
    /// Takes the written bytes, and runs the next complete command.
    fn run(&mut self, written: &str) {
        self.unread += written;
        let Some(rest) = self.unread.strip_prefix("*2\r\n") else {
            return;
        };
        let parts: Vec<&str> = rest.splitn(5, "\r\n").collect();
        let [_, name, _, number, rest] = parts[..] else {
            return;
        };
        let number: Id = number.parse().unwrap();
        if name == "W" {
            self.executed.push(number);
        }
        self.unsent += &format!(":{number}\r\n");
        self.unread = rest.to_owned();
    }

    /// Sends all of the waiting replies, or the first half of their bytes.
    fn send(&mut self, is_half: bool) -> String {
        let length = self.unsent.len();
        self.unsent
            .drain(..if is_half { length / 2 } else { length })
            .collect()
    }

    fn forget_connection(&mut self) {
        (self.unread, self.unsent) = (String::new(), String::new());
    }
}

proptest! {
    /// The server answers each command with its own number, and connections are lost at random. Each request gets exactly one answer, which
    /// is its own, and no write runs twice.
    #[test]
    fn everyone_gets_one_answer_and_it_is_theirs(steps in steps()) {
        let (mut harness, mut server) = (Harness::<Commands>::new(), Server::default());
        let (mut id, mut connected) = (0, false);
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
                    server.run(&harness.written());
                    let piece = server.send(matches!(step, Step::HalfReply));
                    if connected { harness.receive(&piece).unwrap(); }
                }
                Step::Lose if connected => { connected = false; harness.lose(); }
                Step::Fail if !connected => harness.pipeline.not_connected(&Error::ours("CONNECTION", "no"), false),
                Step::Connect(room) if !connected => {
                    connected = true;
                    server.forget_connection();
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
        server.executed.sort_unstable();
        let once = server.executed.len();
        server.executed.dedup();
        prop_assert_eq!(server.executed.len(), once);
    }
}
