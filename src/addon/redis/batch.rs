//! Converts the commands of one tick, as JavaScript values, to requests.

use std::mem;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

use crate::addon::arguments::{self, Words, push_number, push_prefix};
use crate::addon::raw::{Buffer, Scope, ScopedValue, TextWrite};
use crate::addon::redis::route::{KeySlots, split_transaction};
use crate::commands::{Command, CommandShape, Effect, KeyWords, Spread};
use crate::error::{Error, Result};
use crate::fanout::change::{self, Change};
use crate::fanout::records::Recorder;
use crate::redis::protocol::encode;
use crate::redis::request::{EvalSha, Id, Request, Route, Shape, Subject};

pub struct Batch<'a> {
    prefix: Option<&'a [u8]>,
    recorder: &'a Recorder,
    /// The commands in RESP, one after another.
    bytes: Vec<u8>,
    drafts: Vec<Draft>,
    refused: Vec<(Id, Error)>,
    /// Changes of the framework's records by the current entry.
    changes: Changes,
    /// None without a cluster, where no entry needs a route.
    routes: Option<RouteOptions>,
    /// The slots of the entry that is being read.
    slots: KeySlots,
    /// Whether the entry that is being read publishes.
    publishes: bool,
    /// Whether the entry that is being read has one key.
    has_one_key: bool,
}

/// How entries get their routes.
#[derive(Clone, Copy)]
pub struct RouteOptions {
    /// Whether a transaction with keys of several slots is split by slot.
    pub splits: bool,
}

/// Each with the position of its command in its transaction, if there is one.
type Changes = Vec<(Option<usize>, Change)>;

struct Draft {
    id: Id,
    /// The end of its bytes, which begin at the end of the previous draft.
    end: usize,
    replies: u32,
    repeatable: bool,
    shape: Shape,
    script: Option<Box<EvalSha>>,
    changes: Changes,
    route: Route,
    publishes: bool,
    has_one_key: bool,
}

impl<'a> Batch<'a> {
    /// With room for so many bytes.
    pub fn new(
        prefix: Option<&'a [u8]>,
        recorder: &'a Recorder,
        room: usize,
        routes: Option<RouteOptions>,
    ) -> Self {
        Self {
            prefix,
            recorder,
            bytes: Vec::with_capacity(room),
            drafts: Vec::new(),
            refused: Vec::new(),
            changes: Vec::new(),
            routes,
            slots: KeySlots::default(),
            publishes: false,
            has_one_key: false,
        }
    }

    /// Reads `(id of the first entry, ...entries)`. Ids are consecutive. Returns the number of entries. An entry is
    /// - `number of words, number of the command, ...words`,
    /// - `[number of the command, ...words]`, for a list that would overflow JavaScript's stack, or
    /// - `[[number of the command, ...words], …]`, a transaction.
    ///
    /// A number of -1 - n is that of the command n whose keys are channels: they have no prefix.
    pub fn read<'scope>(&mut self, scope: Scope<'scope>, values: &[ScopedValue<'scope>]) -> Result<usize> {
        let malformed = || Error::ours("INVALID_ARGUMENT", "this is no batch of commands");
        let (first, mut values) = values.split_first().ok_or_else(malformed)?;
        let first = scope.number(*first).ok_or_else(malformed)? as Id;
        let mut count: u32 = 0;
        while let Some((head, rest)) = values.split_first() {
            let id = first.wrapping_add(count);
            let read = match scope.number(*head) {
                Some(words) => {
                    let (entry, after) = rest.split_at_checked(words as usize + 1).ok_or_else(malformed)?;
                    values = after;
                    self.command(scope, id, entry.iter().copied().map(Ok))
                }
                None => {
                    values = rest;
                    self.list(scope, id, *head)
                }
            };
            if let Err(error) = read {
                self.bytes
                    .truncate(self.drafts.last().map_or(0, |draft| draft.end));
                self.changes.clear();
                self.slots = KeySlots::default();
                self.publishes = false;
                self.has_one_key = false;
                self.refused.push((id, error));
            }
            count += 1;
        }
        Ok(count as usize)
    }

    /// The number of encoded bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The requests, and the entries that were refused.
    pub fn finish(self, called: Instant) -> (impl Iterator<Item = Request>, Vec<(Id, Error)>) {
        let bytes = Bytes::from(self.bytes);
        let called = called.into();
        let recorder = self.recorder;
        let mut start = 0;
        let requests = self.drafts.into_iter().map(move |draft| {
            let range = start..draft.end;
            start = draft.end;
            Request {
                id: Some(draft.id),
                bytes: bytes.slice(range),
                replies: draft.replies,
                repeatable: draft.repeatable,
                shape: draft.shape,
                subject: subject(draft.script, draft.changes, recorder),
                called,
                ready: called,
                route: draft.route,
                publishes: draft.publishes,
                has_one_key: draft.has_one_key,
                asking: false,
                guard: None,
                suspected: false,
            }
        });
        (requests, self.refused)
    }

    fn list<'scope>(&mut self, scope: Scope<'scope>, id: Id, list: ScopedValue<'scope>) -> Result<()> {
        let malformed = || Error::ours("INVALID_ARGUMENT", "this is no batch of commands");
        let mut items = scope.elements(list).ok_or_else(malformed)?.peekable();
        let is_command = matches!(items.peek(), Some(Ok(first)) if scope.number(*first).is_some());
        if is_command {
            return self.command(scope, id, items);
        }
        let mut replies = 2;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&encode::command(&[b"MULTI"]));
        for (position, item) in items.enumerate() {
            let words = scope.elements(item?).ok_or_else(malformed)?;
            self.words(scope, words, Some(position))?;
            replies += 1;
        }
        self.bytes.extend_from_slice(&encode::command(&[b"EXEC"]));
        let slots = mem::take(&mut self.slots);
        self.has_one_key = slots.have_one_key();
        let route = match self.routes {
            None => Route::Unknown,
            Some(RouteOptions { splits: true }) if slots.are_several() => {
                split_transaction(&self.bytes[start..])
            }
            Some(_) => slots.route(&self.bytes),
        };
        self.push(id, replies, false, Shape::Transaction, None, route);
        Ok(())
    }

    fn command<'scope>(
        &mut self,
        scope: Scope<'scope>,
        id: Id,
        values: impl ExactSizeIterator<Item = Result<ScopedValue<'scope>>>,
    ) -> Result<()> {
        let (command, shape, script, route) = self.words(scope, values, None)?;
        self.push(id, 1, !command.writes, shape, script, route);
        Ok(())
    }

    fn push(
        &mut self,
        id: Id,
        replies: u32,
        repeatable: bool,
        shape: Shape,
        script: Option<Box<EvalSha>>,
        route: Route,
    ) {
        let end = self.bytes.len();
        self.drafts.push(Draft {
            id,
            end,
            replies,
            repeatable,
            shape,
            script,
            changes: mem::take(&mut self.changes),
            route,
            publishes: mem::take(&mut self.publishes),
            has_one_key: mem::take(&mut self.has_one_key),
        });
    }

    /// Appends one command, from its number and its words. `position` is its place in a transaction.
    fn words<'scope>(
        &mut self,
        scope: Scope<'scope>,
        mut values: impl ExactSizeIterator<Item = Result<ScopedValue<'scope>>>,
        position: Option<usize>,
    ) -> Result<(&'static Command, Shape, Option<Box<EvalSha>>, Route)> {
        let number = values.next().transpose()?.and_then(|value| scope.number(value));
        let (number, keyed_by_channels) = match number {
            Some(number) if number < 0.0 => (Some(-1.0 - number), true),
            number => (number, false),
        };
        let prefix = self.prefix.filter(|_| !keyed_by_channels);
        let command = arguments::row(number)?;
        let count = values.len() + 1;
        let start = self.bytes.len();
        encode::begin(&mut self.bytes, count);
        encode::word(&mut self.bytes, command.name.as_bytes());
        let mut words = Encoded {
            bytes: &mut self.bytes,
            places: SmallVec::new(),
        };
        arguments::read(&mut words, scope, command, prefix, values)?;
        let prefix = prefix.map_or(0, |prefix| prefix.len() + 1);
        if command.writes
            && let Some(change) = words.change(command, prefix)
        {
            self.changes.push((position, change));
        }
        let is_script = command.shape == CommandShape::Script;
        let script = words.places.first().filter(|_| is_script);
        let script = script.map(|place| {
            let tail = place.end + encode::END.len() - start;
            Box::new(evalsha(&words.bytes[place.clone()], count, tail))
        });
        let has_scores = |place: &Range<usize>| &words.bytes[place.clone()] == b"WITHSCORES";
        let scores = command.shape == CommandShape::Scores && words.places.iter().skip(3).any(has_scores);
        let shape = if scores { Shape::Scores } else { Shape::AsIs };
        let mut route = Route::Unknown;
        if self.routes.is_some() {
            self.slots.add(command, words.bytes, &words.places);
            if position.is_none() {
                // A transaction with a message goes with its writes.
                self.publishes = command.spread == Spread::Channel || keyed_by_channels;
                let slots = mem::take(&mut self.slots);
                self.has_one_key = slots.have_one_key();
                route = slots.route_command(command, words.bytes, &words.places);
            }
        }
        Ok((command, shape, script, route))
    }
}

/// A buffer of words in RESP. A long word is encoded in place, without a copy.
struct Encoded<'a> {
    bytes: &'a mut Vec<u8>,
    /// The range of each word.
    places: SmallVec<[Range<usize>; 8]>,
}

impl Encoded<'_> {
    /// The change of the framework's records by a command. Few commands have one, so the keys are checked first.
    fn change(&self, command: &Command, prefix: usize) -> Option<Change> {
        let keys = match command.keys {
            KeyWords::None => return None,
            KeyWords::First | KeyWords::FirstTwo | KeyWords::Alternate => self.places.get(..1)?,
            KeyWords::All => &self.places,
            KeyWords::Counted => self.places.get(2..)?,
        };
        let word = |place: &Range<usize>| &self.bytes[place.clone()];
        if !keys.iter().any(|place| change::is_hash(word(place), prefix)) {
            return None;
        }
        let words: Vec<_> = self.places.iter().map(word).collect();
        match command.effect {
            Effect::SetsFields => Change::write(prefix, &words),
            Effect::RemovesFields => Change::remove(&words),
            Effect::RemovesKeys => Some(Change::remove_all(prefix, &words)),
            Effect::KeepsFields => None,
            Effect::Any => Some(Change::Other),
        }
    }
}

impl Words for Encoded<'_> {
    #[inline]
    fn push(&mut self, scope: Scope, prefix: Option<&[u8]>, value: ScopedValue) -> Result<()> {
        let mut short = Buffer::new();
        push_prefix(&mut short, prefix);
        let attempt = scope.try_utf8(value, &mut short)?;
        let long = match attempt {
            TextWrite::Written => None,
            TextWrite::TooLong => Some(scope.text_length(value)?),
            TextWrite::NoString => {
                push_number(&mut short, scope, value)?;
                None
            }
        };
        encode::begin_word(self.bytes, short.len() + long.map_or(0, |length| length.utf8));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&short);
        if let Some(length) = long {
            scope.append_long(value, length, self.bytes)?;
        }
        self.places.push(start..self.bytes.len());
        self.bytes.extend_from_slice(encode::END);
        Ok(())
    }

    fn last(&self) -> &[u8] {
        self.places.last().map_or(&[], |place| &self.bytes[place.clone()])
    }
}

fn subject(script: Option<Box<EvalSha>>, changes: Changes, recorder: &Recorder) -> Subject {
    let observer = (!changes.is_empty()).then(|| recorder.call(changes));
    match (script, observer) {
        // The reply of a script does not tell what it did to records.
        (Some(script), _) => Subject::Script(script),
        (None, Some(observer)) => Subject::Observed(Box::new(observer)),
        (None, None) => Subject::Command,
    }
}

fn evalsha(script: &[u8], words: usize, tail: usize) -> EvalSha {
    let sha1: [u8; 20] = Sha1::digest(script).into();
    let hex: String = sha1.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut head = Vec::new();
    encode::begin(&mut head, words);
    encode::word(&mut head, b"EVALSHA");
    encode::word(&mut head, hex.as_bytes());
    EvalSha {
        sha1,
        head: head.into(),
        tail,
        is_sent: false,
    }
}
