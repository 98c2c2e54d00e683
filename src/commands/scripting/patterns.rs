//! Lua's patterns. Lua's own matcher runs without hooks, and a script can make it overflow the stack.
//!
//! <https://www.lua.org/manual/5.1/manual.html#5.4.1>. As in Lua 5.1 a NUL ends a pattern.

use std::fmt::Display;
use std::ops::Range;

use mlua::{Lua, Result};

use super::limits::Meter;
use super::raise;

const ESCAPE: u8 = b'%';

pub struct Matcher<'a> {
    lua: &'a Lua,
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: usize,
    meter: Meter<'a>,
}

struct Capture {
    start: usize,
    extent: Extent,
}

#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Open,
    Position,
    Length(usize),
}

pub enum Captured {
    /// A position, counted from 1.
    Position(usize),
    Text(Range<usize>),
}

impl<'a> Matcher<'a> {
    pub fn new(lua: &'a Lua, subject: &'a [u8], pattern: &'a [u8]) -> Self {
        Self {
            lua,
            subject,
            pattern,
            captures: Vec::new(),
            depth: 0,
            meter: Meter::new(lua),
        }
    }

    /// The end of a match that starts at `start`. `pattern` is the offset in the pattern: after its `^`, if it has one.
    pub fn match_at(&mut self, start: usize, pattern: usize) -> Result<Option<usize>> {
        self.captures.clear();
        self.matches(start, pattern)
    }

    /// The first match from `start` on, or only at `start`.
    pub fn search(&mut self, start: usize, pattern: usize, only_here: bool) -> Result<Option<Range<usize>>> {
        let last = if only_here { start } else { self.subject.len() };
        for start in start..=last {
            if let Some(end) = self.match_at(start, pattern)? {
                return Ok(Some(start..end));
            }
        }
        Ok(None)
    }

    pub fn captures(&self) -> usize {
        self.captures.len()
    }

    /// A capture of the last match, counted from 0. A pattern without captures has one, the whole match.
    pub fn capture(&self, index: usize, whole: &Range<usize>) -> Result<Captured> {
        match self.captures.get(index) {
            Some(capture) => match capture.extent {
                Extent::Open => Err(self.fault("unfinished capture")),
                Extent::Position => Ok(Captured::Position(capture.start + 1)),
                Extent::Length(length) => Ok(Captured::Text(capture.start..capture.start + length)),
            },
            None if index == 0 => Ok(Captured::Text(whole.clone())),
            None => Err(self.fault("invalid capture index")),
        }
    }

    fn fault(&self, message: impl Display) -> mlua::Error {
        raise::text(self.lua, message)
    }

    fn byte(&self, index: usize) -> u8 {
        self.subject.get(index).copied().unwrap_or(0)
    }

    fn item(&self, index: usize) -> u8 {
        self.pattern.get(index).copied().unwrap_or(0)
    }

    fn matches(&mut self, at: usize, item: usize) -> Result<Option<usize>> {
        // The limit of later versions of Lua; 5.1 has none, and crashes.
        const DEEPEST: usize = 200;
        if self.depth == DEEPEST {
            return Err(self.fault("pattern too complex"));
        }
        self.depth += 1;
        let end = self.follow(at, item);
        self.depth -= 1;
        end
    }

    fn follow(&mut self, mut at: usize, mut item: usize) -> Result<Option<usize>> {
        loop {
            self.meter.step()?;
            match (self.item(item), self.item(item + 1)) {
                (0, _) => return Ok(Some(at)),
                (b'$', 0) => return Ok((at == self.subject.len()).then_some(at)),
                (b'(', b')') => return self.open(at, item + 2, Extent::Position),
                (b'(', _) => return self.open(at, item + 1, Extent::Open),
                (b')', _) => return self.close(at, item + 1),
                (ESCAPE, b'b') => {
                    let Some(end) = self.balanced(at, item + 2)? else {
                        return Ok(None);
                    };
                    (at, item) = (end, item + 4);
                }
                (ESCAPE, b'f') => {
                    let Some(end) = self.frontier(at, item + 2)? else {
                        return Ok(None);
                    };
                    item = end;
                }
                (ESCAPE, digit @ b'0'..=b'9') => {
                    let Some(end) = self.repeated(at, digit)? else {
                        return Ok(None);
                    };
                    (at, item) = (end, item + 2);
                }
                _ => {
                    let end = self.item_end(item)?;
                    let fits = self.fits(at, item, end)?;
                    match self.item(end) {
                        b'*' => return self.most(at, item, end),
                        b'+' if fits => return self.most(at + 1, item, end),
                        b'-' => return self.fewest(at, item, end),
                        b'?' => {
                            if fits && let Some(end) = self.matches(at + 1, end + 1)? {
                                return Ok(Some(end));
                            }
                            item = end + 1;
                        }
                        b'+' => return Ok(None),
                        _ if fits => (at, item) = (at + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn open(&mut self, at: usize, item: usize, extent: Extent) -> Result<Option<usize>> {
        const MOST: usize = 32;
        if self.captures.len() == MOST {
            return Err(self.fault("too many captures"));
        }
        self.captures.push(Capture { start: at, extent });
        let end = self.matches(at, item)?;
        if end.is_none() {
            self.captures.pop();
        }
        Ok(end)
    }

    fn close(&mut self, at: usize, item: usize) -> Result<Option<usize>> {
        let is_open = |capture: &Capture| capture.extent == Extent::Open;
        let Some(index) = self.captures.iter().rposition(is_open) else {
            return Err(self.fault("invalid pattern capture"));
        };
        self.captures[index].extent = Extent::Length(at - self.captures[index].start);
        let end = self.matches(at, item)?;
        if end.is_none() {
            self.captures[index].extent = Extent::Open;
        }
        Ok(end)
    }

    /// `%bxy`
    fn balanced(&mut self, at: usize, item: usize) -> Result<Option<usize>> {
        let (open, close) = (self.item(item), self.item(item + 1));
        if open == 0 || close == 0 {
            return Err(self.fault("unbalanced pattern"));
        }
        if self.byte(at) != open {
            return Ok(None);
        }
        let mut level = 1;
        for end in at + 1..self.subject.len() {
            self.meter.step()?;
            match self.subject[end] {
                byte if byte == close => {
                    level -= 1;
                    if level == 0 {
                        return Ok(Some(end + 1));
                    }
                }
                byte if byte == open => level += 1,
                _ => {}
            }
        }
        Ok(None)
    }

    /// `%f[set]`: the end of the set, if this is its frontier.
    fn frontier(&mut self, at: usize, set: usize) -> Result<Option<usize>> {
        if self.item(set) != b'[' {
            return Err(self.fault("missing '[' after '%f' in pattern"));
        }
        let end = self.item_end(set)?;
        let before = at.checked_sub(1).map_or(0, |before| self.byte(before));
        self.meter.work(end - set)?;
        let is_frontier = !self.in_set(before, set, end) && self.in_set(self.byte(at), set, end);
        Ok(is_frontier.then_some(end))
    }

    /// `%1`
    fn repeated(&mut self, at: usize, digit: u8) -> Result<Option<usize>> {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let Some(Capture {
            start,
            extent: extent @ (Extent::Length(_) | Extent::Position),
        }) = self.captures.get(index)
        else {
            return Err(self.fault("invalid capture index"));
        };
        // A position capture has no text: as in Lua, nothing matches it.
        let Extent::Length(length) = *extent else {
            return Ok(None);
        };
        let text = &self.subject[*start..start + length];
        self.meter.pass(length)?;
        Ok(self.subject[at..].starts_with(text).then_some(at + length))
    }

    fn most(&mut self, at: usize, item: usize, end: usize) -> Result<Option<usize>> {
        let mut last = at;
        while self.fits(last, item, end)? {
            last += 1;
        }
        for at in (at..=last).rev() {
            if let Some(end) = self.matches(at, end + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn fewest(&mut self, mut at: usize, item: usize, end: usize) -> Result<Option<usize>> {
        loop {
            if let Some(end) = self.matches(at, end + 1)? {
                return Ok(Some(end));
            }
            if !self.fits(at, item, end)? {
                return Ok(None);
            }
            at += 1;
        }
    }

    /// The end of an item that matches one byte.
    fn item_end(&mut self, item: usize) -> Result<usize> {
        match self.item(item) {
            ESCAPE if self.item(item + 1) == 0 => Err(self.fault("malformed pattern (ends with '%')")),
            ESCAPE => Ok(item + 2),
            b'[' => {
                let end = self.set_end(item)?;
                self.meter.work(end - item)?;
                Ok(end)
            }
            _ => Ok(item + 1),
        }
    }

    fn set_end(&self, set: usize) -> Result<usize> {
        let mut at = set + 1;
        if self.item(at) == b'^' {
            at += 1;
        }
        // A leading `]` belongs to the set.
        loop {
            match self.item(at) {
                0 => return Err(self.fault("malformed pattern (missing ']')")),
                ESCAPE if self.item(at + 1) != 0 => at += 2,
                _ => at += 1,
            }
            if self.item(at) == b']' {
                return Ok(at + 1);
            }
        }
    }

    fn fits(&mut self, at: usize, item: usize, end: usize) -> Result<bool> {
        // A set may be long.
        self.meter.work(end - item)?;
        let Some(&byte) = self.subject.get(at) else {
            return Ok(false);
        };
        Ok(match self.item(item) {
            b'.' => true,
            ESCAPE => in_class(byte, self.item(item + 1)),
            b'[' => self.in_set(byte, item, end),
            other => other == byte,
        })
    }

    fn in_set(&self, byte: u8, set: usize, end: usize) -> bool {
        let closing = end - 1;
        let mut at = set + 1;
        let found = self.item(at) != b'^';
        if !found {
            at += 1;
        }
        while at < closing {
            if self.item(at) == ESCAPE {
                if in_class(byte, self.item(at + 1)) {
                    return found;
                }
                at += 2;
            } else if self.item(at + 1) == b'-' && at + 2 < closing {
                if (self.item(at)..=self.item(at + 2)).contains(&byte) {
                    return found;
                }
                at += 3;
            } else {
                if self.item(at) == byte {
                    return found;
                }
                at += 1;
            }
        }
        !found
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let belongs = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        // C, unlike Rust, counts the vertical tab as white space.
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    belongs != class.is_ascii_uppercase()
}
