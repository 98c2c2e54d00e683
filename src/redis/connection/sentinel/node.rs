//! One Sentinel: asks it for the master, and hears of failovers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use crate::error::{Error, Reason};
use crate::redis::connection::backoff::{backoff, jitter};
use crate::redis::connection::connect::{Connector, Opened};
use crate::redis::connection::failure::Failure;
use crate::redis::connection::sentinel::board::Board;
use crate::redis::connection::sentinel::wire::{PROMOTING, SWITCHED, Wire, is_push, unknown_answer};
use crate::redis::endpoint::Endpoint;
use crate::redis::protocol::decode;
use crate::reply::Reply;

/// How often one of the Sentinels is asked, at most.
pub const POLL: Duration = Duration::from_millis(500);
/// A Sentinel that does not answer within this time is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a Sentinel is asked for the others.
const DISCOVERY: Duration = Duration::from_secs(10);
/// A connection that was open for less counts as a failed attempt, as far as the backoff goes.
const STABLE: Duration = Duration::from_secs(1);

/// What the tasks of all Sentinels share with who asks.
pub struct Answers {
    pub board: Mutex<Board>,
    /// The board has changed.
    pub told: watch::Sender<()>,
    /// Somebody wants to know at once.
    pub asks: watch::Sender<()>,
    /// How long it took to connect to a Sentinel last.
    pub took: Mutex<Duration>,
    /// The last moment at which one of them is to be asked.
    pub booked: Mutex<Instant>,
}

impl Answers {
    /// When to ask a Sentinel next that was to be asked at a moment. All have moments of their own, `POLL` apart: who has asked them all at once
    /// moves none.
    fn book(&self, before: Instant, now: Instant) -> Instant {
        if before > now {
            return before;
        }
        // Moments of those that have failed since are not waited for.
        let latest = now + POLL * self.board.lock().alive().max(1) as u32;
        let mut booked = self.booked.lock();
        let free = booked.max(now) + POLL.mul_f64(0.75 + jitter() / 4.0);
        *booked = free.min(latest);
        *booked
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let result = change(&mut self.board.lock());
        self.told.send_replace(());
        result
    }
}

pub struct SentinelNode {
    pub index: usize,
    pub endpoint: Endpoint,
    /// The master's name.
    pub name: String,
    pub connector: Connector,
    /// The longest that an attempt to connect may ever take.
    pub connect_timeout: Duration,
    pub answers: Arc<Answers>,
}

impl SentinelNode {
    /// Watches the Sentinel. Returns once it is no longer to be watched.
    pub async fn watch(self) {
        let mut asks = self.answers.asks.subscribe();
        let (mut attempt, mut failures) = (0, 0);
        loop {
            let failure = match self.open(failures).await {
                Ok(opened) => {
                    let since = Instant::now();
                    let failure = self.converse(opened, &mut asks).await;
                    failures = 0;
                    if since.elapsed() >= STABLE {
                        attempt = 0;
                    }
                    failure
                }
                Err(failure) => {
                    failures += 1;
                    failure
                }
            };
            attempt += 1;
            // Questions from here on are answered by another attempt.
            asks.mark_unchanged();
            let is_wanted = self.answers.change(|board| {
                board.failed(self.index, failure, Instant::now());
                board.is_wanted(self.index)
            });
            if !is_wanted {
                return;
            }
            tokio::select! {
                () = sleep(backoff(attempt)) => {}
                _ = asks.changed() => {}
            }
        }
    }

    async fn open(&self, failures: u32) -> Result<Opened, Failure> {
        let identity = self.connector.identify(&self.endpoint).await?;
        let began = Instant::now();
        let is_any_alive = self.is_any_alive();
        let longest = match is_any_alive {
            true => self.longest(failures),
            false => self.connect_timeout,
        };
        let opened = tokio::select! {
            opened = self.connector.open_as(&identity, &self.endpoint, longest) => opened,
            longest = self.overtaken(failures, began), if !is_any_alive => Err(self.late(longest)),
        };
        if opened.is_ok() {
            *self.answers.took.lock() = began.elapsed();
        }
        opened
    }

    /// Returns once another Sentinel answers and the attempt has taken as long as it may then: this long.
    async fn overtaken(&self, failures: u32, began: Instant) -> Duration {
        let mut told = self.answers.told.subscribe();
        while !self.is_any_alive() {
            // The sender is held here.
            _ = told.changed().await;
        }
        let longest = self.longest(failures);
        sleep_until((began + longest).into()).await;
        longest
    }

    /// How long an attempt may take where another Sentinel answers.
    fn longest(&self, failures: u32) -> Duration {
        longest(failures, *self.answers.took.lock()).min(self.connect_timeout)
    }

    fn is_any_alive(&self) -> bool {
        self.answers.board.lock().alive() > 0
    }

    /// Asks again and again, until the connection ends. Gives why it has.
    async fn converse(&self, (transport, established): Opened, asks: &mut watch::Receiver<()>) -> Failure {
        let mut wire = Wire::new(transport);
        let introduced = timeout(ANSWER_TIMEOUT, self.introduce(&mut wire)).await;
        if let Err(failure) = self.ended(introduced) {
            return failure;
        }
        // With RESP 2 nothing else could be asked on the connection.
        if established.server.resp == 3 {
            let subscribed = timeout(ANSWER_TIMEOUT, wire.subscribe()).await;
            if let Err(failure) = self.ended(subscribed) {
                return failure;
            }
        }
        let mut discovery = Instant::now();
        let mut next = discovery;
        loop {
            if self.answers.board.lock().is_gone(self.index) {
                let message = format!("{} is watched by another address", self.endpoint);
                return Failure::temporary(Reason::NoSentinel, message);
            }
            asks.mark_unchanged();
            let asked = Instant::now();
            let answer = timeout(ANSWER_TIMEOUT, self.ask(&mut wire)).await;
            match self.ended(answer) {
                Ok(master) => self
                    .answers
                    .change(|board| board.answered(self.index, master, asked, Instant::now())),
                Err(failure) => return failure,
            }
            if asked >= discovery {
                discovery = asked + DISCOVERY;
                let discovered = timeout(ANSWER_TIMEOUT, self.discover(&mut wire)).await;
                if let Err(failure) = self.ended(discovered) {
                    return failure;
                }
            }
            next = self.answers.book(next, Instant::now());
            loop {
                tokio::select! {
                    () = sleep_until(next.into()) => break,
                    _ = asks.changed() => break,
                    frame = wire.frame() => match frame {
                        Ok(frame) => self.hear(&frame),
                        Err(error) => return Failure::passing(error),
                    },
                }
            }
        }
    }

    /// The master that the Sentinel names, if it knows one of the name.
    async fn ask(&self, wire: &mut Wire) -> Result<Option<Endpoint>, Error> {
        let question: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.name.as_bytes()];
        let frame = self.reply(wire, &question).await?;
        match decode::parse(&frame)? {
            Reply::Nil => Ok(None),
            Reply::Error(error) => Err(error),
            Reply::Array(items) => match &items[..] {
                [Reply::Bulk(host), Reply::Bulk(port)] => Ok(Some(endpoint(text(host), text(port))?)),
                _ => Err(unknown_answer()),
            },
            _ => Err(unknown_answer()),
        }
    }

    async fn reply(&self, wire: &mut Wire, question: &[&[u8]]) -> Result<Bytes, Error> {
        wire.send(question).await?;
        loop {
            let frame = wire.frame().await?;
            if !is_push(&frame) {
                return Ok(frame);
            }
            self.hear(&frame);
        }
    }

    /// Learns who the Sentinel is. One that was named must be the one that was meant.
    async fn introduce(&self, wire: &mut Wire) -> Result<(), Error> {
        let frame = self.reply(wire, &[b"SENTINEL", b"MYID"]).await?;
        let id = match decode::parse(&frame)? {
            Reply::Bulk(id) => Some(text(&id).to_owned()),
            // A Sentinel before 6.2, or a user who may not ask.
            _ => None,
        };
        if self.answers.board.lock().introduced(self.index, id) {
            return Ok(());
        }
        let message = format!("{} is another Sentinel than was named", self.endpoint);
        Err(Error::because(Reason::NoSentinel, message))
    }

    /// Learns which other Sentinels watch the master. They are asked too, as those that are configured may all be replaced one day.
    async fn discover(&self, wire: &mut Wire) -> Result<(), Error> {
        let question: [&[u8]; 3] = [b"SENTINEL", b"SENTINELS", self.name.as_bytes()];
        let frame = self.reply(wire, &question).await?;
        let Reply::Array(others) = decode::parse(&frame)? else {
            return Ok(());
        };
        let named: Vec<_> = others.iter().filter_map(named).collect();
        self.answers.change(|board| {
            board.counted(others.len() + 1);
            for (endpoint, id) in named {
                board.named(endpoint, id);
            }
        });
        Ok(())
    }

    fn hear(&self, frame: &[u8]) {
        let Ok(Reply::Array(items)) = decode::parse(frame) else {
            return;
        };
        let [Reply::Bulk(_), Reply::Bulk(channel), Reply::Bulk(payload)] = &items[..] else {
            return;
        };
        let (channel, payload) = (text(channel), text(payload));
        let words: Vec<_> = payload.split(' ').collect();
        let now = Instant::now();
        match (channel, &words[..]) {
            (SWITCHED, [name, _, _, host, port]) if *name == self.name => {
                if let Ok(master) = endpoint(host, port) {
                    self.answers
                        .change(|board| board.switched(self.index, master, now));
                }
            }
            (PROMOTING, [_, _, host, port, "@", name, ..]) if *name == self.name => {
                if let Ok(replica) = endpoint(host, port) {
                    self.answers.change(|board| board.promoting(replica, now));
                }
            }
            _ => {}
        }
    }

    fn ended<T>(&self, outcome: Result<Result<T, Error>, tokio::time::error::Elapsed>) -> Result<T, Failure> {
        match outcome {
            Ok(outcome) => outcome.map_err(Failure::passing),
            Err(_) => Err(self.late(ANSWER_TIMEOUT)),
        }
    }

    fn late(&self, longest: Duration) -> Failure {
        let (endpoint, longest) = (&self.endpoint, longest.as_millis());
        let message = format!("{endpoint} did not answer within {longest} ms");
        Failure::temporary(Reason::NoAnswer, message)
    }
}

/// How long an attempt to connect to a Sentinel may take where another one answers, after so many that have failed. A dead one is left soon.
/// Where one was slow to reach the others may be.
fn longest(failures: u32, took: Duration) -> Duration {
    (ANSWER_TIMEOUT * (1 << failures.min(2))).max(took * 2)
}

/// Where another Sentinel is and who it is, unless it is taken for dead: an element of the reply to SENTINEL SENTINELS.
fn named(other: &Reply) -> Option<(Endpoint, String)> {
    let Reply::Array(items) = other else { return None };
    let field = |name: &[u8]| {
        let pair = items.chunks(2).find(|pair| pair[0] == Reply::bulk(name));
        match pair.and_then(|pair| pair.get(1)) {
            Some(Reply::Bulk(value)) => Some(text(value)),
            _ => None,
        }
    };
    let is_down = field(b"flags")?.split(',').any(|flag| flag.ends_with("_down"));
    let id = field(b"runid").filter(|id| !id.is_empty() && !is_down)?;
    let endpoint = endpoint(field(b"ip")?, field(b"port")?).ok()?;
    Some((endpoint, id.to_owned()))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn endpoint(host: &str, port: &str) -> Result<Endpoint, Error> {
    match port.parse() {
        Ok(port) if !host.is_empty() => Ok(Endpoint::Tcp {
            host: host.to_owned(),
            port,
        }),
        _ => Err(unknown_answer()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each store that connects asks all Sentinels at once. If each counts from there, nobody is asked for 1.1 to 1.5 s, over and over: a master
    // that is named meanwhile is followed late.
    #[test]
    fn one_sentinel_is_asked_each_half_second_though_all_were_asked_at_once() {
        let began = Instant::now();
        let at = |port| endpoint("h", port).unwrap();
        let answers = Answers {
            board: Mutex::new(Board::new(&[at("1"), at("2"), at("3")])),
            told: watch::Sender::new(()),
            asks: watch::Sender::new(()),
            took: Mutex::default(),
            booked: Mutex::new(began),
        };
        let answered = |index: usize, now| answers.board.lock().answered(index, Some(at("9")), now, now);
        (0..3).for_each(|index| answered(index, began));
        let mut next = [began; 3].map(|before| answers.book(before, began));
        let mut last = began;
        for question in 0..100 {
            // A store connects.
            if question % 2 == 0 {
                next = next.map(|before| answers.book(before, last + POLL / 4));
            }
            let first = (0..3).min_by_key(|index| next[*index]).unwrap();
            let now = next[first];
            let pause = now - last;
            assert!((POLL / 2..=POLL).contains(&pause), "{pause:?}");
            (next[first], last) = (answers.book(now, now), now);
        }
        // Two of them fail: the third does not wait for their turns.
        for index in 1..3 {
            let failure = Failure::temporary(Reason::Refused, String::new());
            answers.board.lock().failed(index, failure, last);
        }
        assert!(answers.book(last, last) <= last + POLL);
    }

    // Within 500 ms no Sentinel is reached over TLS with a round trip of 150 ms. A dead one must not hold up those who ask for long.
    #[test]
    fn an_attempt_may_take_longer_after_failures_or_where_one_took_long() {
        let ms = Duration::from_millis;
        let short = [0, 1, 2, 99].map(|failures| longest(failures, ms(5)));
        assert_eq!(short, [500, 1_000, 2_000, 2_000].map(ms));
        assert_eq!(longest(0, ms(700)), ms(1_400));
    }
}
