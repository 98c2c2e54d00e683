//! The commands of one tick, from JavaScript's values to requests.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

use super::arguments::{self, Words, push_number, push_prefix};
use super::raw::{Attempt, Buffer, Scope, Value};
use crate::commands::Command;
use crate::error::{Error, Result};
use crate::redis::request::{Id, Request, Script, Shape, Subject};
use crate::redis::resp;

pub struct Batch<'a> {
    prefix: Option<&'a [u8]>,
    /// The commands, one after the other, as they will be sent.
    bytes: Vec<u8>,
    drafts: Vec<Draft>,
    refused: Vec<(Id, Error)>,
}

struct Draft {
    id: Id,
    /// Where its bytes end; they begin where the one before ends.
    end: usize,
    replies: usize,
    repeatable: bool,
    shape: Shape,
    script: Option<Box<Script>>,
}

impl<'a> Batch<'a> {
    /// With room for so many bytes.
    pub fn new(prefix: Option<&'a [u8]>, room: usize) -> Self {
        Self {
            prefix,
            bytes: Vec::with_capacity(room),
            drafts: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Reads `(id of the first, ...entries)`, and gives the number of entries, whose ids follow one another. An entry is
    /// - `number of words, command's number, ...words`,
    /// - `[command's number, ...words]`, for a list that would overflow JavaScript's stack, or
    /// - `[[command's number, ...words], …]`, to be run with nothing in between.
    pub fn read<'scope>(&mut self, scope: Scope<'scope>, values: &[Value<'scope>]) -> Result<usize> {
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
                self.refused.push((id, error));
            }
            count += 1;
        }
        Ok(count as usize)
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What is to be sent, and what cannot be.
    pub fn finish(self, called: Instant) -> (impl Iterator<Item = Request>, Vec<(Id, Error)>) {
        let bytes = Bytes::from(self.bytes);
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
                subject: draft.script.map_or(Subject::Command, Subject::Script),
                called,
                suspected: false,
            }
        });
        (requests, self.refused)
    }

    fn list<'scope>(&mut self, scope: Scope<'scope>, id: Id, list: Value<'scope>) -> Result<()> {
        let malformed = || Error::ours("INVALID_ARGUMENT", "this is no batch of commands");
        let mut items = scope.elements(list).ok_or_else(malformed)?.peekable();
        let is_command = matches!(items.peek(), Some(Ok(first)) if scope.number(*first).is_some());
        if is_command {
            return self.command(scope, id, items);
        }
        let mut replies = 2;
        self.bytes.extend_from_slice(&resp::command(&[b"MULTI"]));
        for item in items {
            let words = scope.elements(item?).ok_or_else(malformed)?;
            self.words(scope, words)?;
            replies += 1;
        }
        self.bytes.extend_from_slice(&resp::command(&[b"EXEC"]));
        self.push(id, replies, false, Shape::Transaction, None);
        Ok(())
    }

    fn command<'scope>(
        &mut self,
        scope: Scope<'scope>,
        id: Id,
        values: impl ExactSizeIterator<Item = Result<Value<'scope>>>,
    ) -> Result<()> {
        let (command, shape, script) = self.words(scope, values)?;
        self.push(id, 1, !command.writes, shape, script);
        Ok(())
    }

    fn push(&mut self, id: Id, replies: usize, repeatable: bool, shape: Shape, script: Option<Box<Script>>) {
        let end = self.bytes.len();
        self.drafts.push(Draft {
            id,
            end,
            replies,
            repeatable,
            shape,
            script,
        });
    }

    /// Appends one command, of its number and its words.
    fn words<'scope>(
        &mut self,
        scope: Scope<'scope>,
        mut values: impl ExactSizeIterator<Item = Result<Value<'scope>>>,
    ) -> Result<(&'static Command, Shape, Option<Box<Script>>)> {
        let command = arguments::command(scope, values.next().transpose()?.as_ref())?;
        let count = values.len() + 1;
        let start = self.bytes.len();
        resp::begin(&mut self.bytes, count);
        resp::word(&mut self.bytes, command.name.as_bytes());
        let mut words = Encoded {
            bytes: &mut self.bytes,
            places: SmallVec::new(),
        };
        arguments::read(&mut words, scope, command, self.prefix, values)?;
        let script = words.places.first().filter(|_| command.name == "EVAL");
        let script = script.map(|place| {
            let tail = place.end + resp::END.len() - start;
            Box::new(evalsha(&words.bytes[place.clone()], count, tail))
        });
        let has_scores = |place: &Range<usize>| &words.bytes[place.clone()] == b"WITHSCORES";
        let scores = command.name == "ZRANGEBYSCORE" && words.places.iter().skip(3).any(has_scores);
        let shape = if scores { Shape::Scores } else { Shape::AsIs };
        Ok((command, shape, script))
    }
}

/// Words as they are sent. A long one is written where it will lie.
struct Encoded<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where each word is.
    places: SmallVec<[Range<usize>; 8]>,
}

impl Words for Encoded<'_> {
    #[inline]
    fn push(&mut self, scope: Scope, prefix: Option<&[u8]>, value: Value) -> Result<()> {
        let mut short = Buffer::new();
        push_prefix(&mut short, prefix);
        let attempt = scope.try_utf8(value, &mut short)?;
        let long = match attempt {
            Attempt::Written => None,
            Attempt::TooLong => Some(scope.text_length(value)?),
            Attempt::NoString => {
                push_number(&mut short, scope, value)?;
                None
            }
        };
        resp::begin_word(self.bytes, short.len() + long.map_or(0, |length| length.utf8));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&short);
        if let Some(length) = long {
            scope.append_long(value, length, self.bytes)?;
        }
        self.places.push(start..self.bytes.len());
        self.bytes.extend_from_slice(resp::END);
        Ok(())
    }

    fn last(&self) -> &[u8] {
        self.places.last().map_or(&[], |place| &self.bytes[place.clone()])
    }
}

fn evalsha(script: &[u8], words: usize, tail: usize) -> Script {
    let sha1: [u8; 20] = Sha1::digest(script).into();
    let hex: String = sha1.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut head = Vec::new();
    resp::begin(&mut head, words);
    resp::word(&mut head, b"EVALSHA");
    resp::word(&mut head, hex.as_bytes());
    Script {
        sha1,
        head: head.into(),
        tail,
    }
}
