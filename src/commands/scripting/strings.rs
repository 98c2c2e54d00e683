//! Functions of the `string` library that need a limit: these versions are metered, and else behave as Lua's own.
//!
//! <https://www.lua.org/manual/5.1/manual.html#5.4>

use std::ops::Range;

use memchr::memmem;
use mlua::{Function, Lua, LuaString, MultiValue, Result, Table, Value};

use super::arguments::{LuaArguments, function, type_name};
use super::limits::{LuaText, Meter};
use super::patterns::{Captured, Matcher};
use super::raise::{self, ProtectedCall};

pub fn install(lua: &Lua, native: &Table) -> Result<()> {
    let pcall = ProtectedCall::new(lua)?;
    // Reads a table, through its metatable if it has one.
    let index = lua.load("local table, key = ... return table[key]");
    let index = index.set_name("=sandbox").into_function()?;
    native.set("find", function(lua, |lua, args| find(lua, args, true))?)?;
    native.set("match", function(lua, |lua, args| find(lua, args, false))?)?;
    native.set("next_match", function(lua, next_match)?)?;
    native.set(
        "gsub",
        function(lua, move |lua, args| gsub(lua, args, &pcall, &index))?,
    )?;
    native.set("rep", function(lua, rep)?)?;
    let upper = |piece: &mut [u8]| piece.make_ascii_uppercase();
    let lower = |piece: &mut [u8]| piece.make_ascii_lowercase();
    native.set(
        "upper",
        function(lua, move |lua, args| changed(lua, args, upper))?,
    )?;
    native.set(
        "lower",
        function(lua, move |lua, args| changed(lua, args, lower))?,
    )?;
    native.set("reverse", function(lua, reverse)?)
}

fn find(lua: &Lua, args: &LuaArguments, positions: bool) -> Result<MultiValue> {
    let (text, pattern) = (args.string(1)?, args.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let start = start(args.optional_integer(3, 1)?, text.len());
    if positions && (args.flag(4) || is_plain(&pattern)) {
        let found = find_plain(lua, &text[start..], &pattern)?;
        let ends = found.map(|at| [start + at + 1, start + at + pattern.len()]);
        return Ok(ends.map_or_else(nothing, |ends| ends.into_iter().map(integer).collect()));
    }
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, &text, &pattern);
    let Some(whole) = matcher.search(start, usize::from(anchored), anchored)? else {
        return Ok(nothing());
    };
    let mut values = MultiValue::new();
    if positions {
        values.extend([integer(whole.start + 1), integer(whole.end)]);
    }
    let found = Match::new(lua, &text, &matcher, whole);
    found.push_captures(&mut values, usize::from(!positions))?;
    Ok(values)
}

/// One step of `gmatch`: the start of the next step, and the captures.
fn next_match(lua: &Lua, args: &LuaArguments) -> Result<MultiValue> {
    if !args.flag(3) {
        return Ok(nothing());
    }
    let (text, pattern, start) = (args.string(1)?, args.string(2)?, args.integer(3)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let start = usize::try_from(start - 1).unwrap_or(0);
    let mut matcher = Matcher::new(lua, &text, &pattern);
    let Some(whole) = matcher.search(start, 0, false)? else {
        return Ok(nothing());
    };
    let next = whole.end + usize::from(whole.is_empty()) + 1;
    let mut values = MultiValue::from_iter([integer(next)]);
    Match::new(lua, &text, &matcher, whole).push_captures(&mut values, 1)?;
    Ok(values)
}

fn gsub(
    lua: &Lua,
    args: &LuaArguments,
    pcall: &ProtectedCall,
    index: &Function,
) -> Result<(LuaString, usize)> {
    let (text, pattern) = (args.string(1)?, args.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let most = args.optional_integer(4, i64::MAX)?;
    let replacement = Replacement::new(args, index)?;
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, &text, &pattern);
    let mut result = LuaText::new(lua);
    let (mut at, mut count) = (0, 0);
    while (count as i64) < most {
        let end = matcher.match_at(at, usize::from(anchored))?;
        if let Some(end) = end {
            count += 1;
            Match::new(lua, &text, &matcher, at..end).replace(&replacement, pcall, &mut result)?;
        }
        match end {
            Some(end) if end > at => at = end,
            _ if at < text.len() => {
                result.push(&text[at..=at])?;
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    result.push(&text[at..])?;
    Ok((result.into_lua()?, count))
}

fn rep(lua: &Lua, args: &LuaArguments) -> Result<LuaString> {
    let (text, count) = (args.string(1)?, args.integer(2)?);
    let text = text.as_bytes();
    // 2^40 does not fit into 32 bits: it is too much, and not none.
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    let mut meter = Meter::new(lua);
    meter.allocate(text.len().saturating_mul(count))?;
    lua.create_string(text.repeat(count))
}

/// The bytes that are changed between two checks of the clock.
const PIECE: usize = 64 << 10;

/// A copy of a text, changed piece by piece.
fn changed(lua: &Lua, args: &LuaArguments, change: fn(&mut [u8])) -> Result<LuaString> {
    let text = args.string(1)?;
    let mut copy = LuaText::new(lua);
    for piece in text.as_bytes().chunks(PIECE) {
        copy.push_changed(piece, change)?;
    }
    copy.into_lua()
}

fn reverse(lua: &Lua, args: &LuaArguments) -> Result<LuaString> {
    let text = args.string(1)?;
    let mut copy = LuaText::new(lua);
    for piece in text.as_bytes().rchunks(PIECE) {
        copy.push_changed(piece, <[u8]>::reverse)?;
    }
    copy.into_lua()
}

/// The replacement of each match.
enum Replacement<'a> {
    Template(LuaString),
    /// With the function that reads it.
    Table(&'a Table, &'a Function),
    Function(&'a Function),
}

impl<'a> Replacement<'a> {
    fn new(args: &'a LuaArguments, index: &'a Function) -> Result<Self> {
        match args.get(3) {
            Some(Value::Table(table)) => Ok(Replacement::Table(table, index)),
            Some(Value::Function(function)) => Ok(Replacement::Function(function)),
            Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
                args.string(3).map(Replacement::Template)
            }
            _ => Err(args.refuse(3, "string/function/table expected")),
        }
    }
}

struct Match<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    matcher: &'a Matcher<'a>,
    whole: Range<usize>,
}

impl<'a> Match<'a> {
    fn new(lua: &'a Lua, text: &'a [u8], matcher: &'a Matcher<'a>, whole: Range<usize>) -> Self {
        Self {
            lua,
            text,
            matcher,
            whole,
        }
    }

    fn capture(&self, index: usize) -> Result<Value> {
        match self.matcher.capture(index, &self.whole)? {
            Captured::Position(position) => Ok(integer(position)),
            Captured::Text(range) => self.lua.create_string(&self.text[range]).map(Value::String),
        }
    }

    fn push_captures(&self, values: &mut MultiValue, at_least: usize) -> Result<()> {
        let mut meter = Meter::new(self.lua);
        for index in 0..self.matcher.captures().max(at_least) {
            let value = self.capture(index)?;
            if let Value::String(text) = &value {
                meter.pass(text.as_bytes().len())?;
            }
            values.push_back(value);
        }
        Ok(())
    }

    fn replace(&self, replacement: &Replacement, pcall: &ProtectedCall, result: &mut LuaText) -> Result<()> {
        let value = match replacement {
            Replacement::Template(template) => return self.expand(&template.as_bytes(), result),
            Replacement::Table(table, index) => {
                let index = Value::Function((*index).clone());
                let table = Value::Table((*table).clone());
                pcall.call(MultiValue::from_iter([index, table, self.capture(0)?]))?
            }
            Replacement::Function(function) => {
                let mut values = MultiValue::from_iter([Value::Function((*function).clone())]);
                self.push_captures(&mut values, 1)?;
                pcall.call(values)?
            }
        };
        match value {
            Value::Nil | Value::Boolean(false) => result.push(&self.text[self.whole.clone()]),
            Value::String(text) => result.push(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                let text = self.lua.coerce_string(value)?;
                text.map_or(Ok(()), |text| result.push(&text.as_bytes()))
            }
            other => {
                let kind = type_name(&other);
                let message = format_args!("invalid replacement value (a {kind})");
                Err(raise::text(self.lua, message))
            }
        }
    }

    /// Appends the template with its `%1` and the like expanded.
    fn expand(&self, template: &[u8], result: &mut LuaText) -> Result<()> {
        let mut rest = template;
        while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
            result.push(&rest[..at])?;
            match rest.get(at + 1) {
                Some(b'0') => result.push(&self.text[self.whole.clone()])?,
                Some(digit @ b'1'..=b'9') => {
                    match self.matcher.capture(usize::from(digit - b'1'), &self.whole)? {
                        Captured::Text(range) => result.push(&self.text[range])?,
                        Captured::Position(position) => result.push(position.to_string().as_bytes())?,
                    }
                }
                // As in Lua 5.1, which reads the NUL after a trailing `%`.
                other => result.push(&[other.copied().unwrap_or(0)])?,
            }
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        result.push(rest)
    }
}

/// The offset of the third argument of `find`, which counts from the end if it is negative.
fn start(init: i64, length: usize) -> usize {
    let length = length as i64;
    let from_start = if init < 0 {
        init.saturating_add(length + 1)
    } else {
        init
    };
    from_start.saturating_sub(1).clamp(0, length) as usize
}

/// As in Lua 5.1, which stops at a NUL.
fn is_plain(pattern: &[u8]) -> bool {
    let pattern = pattern.split(|&byte| byte == 0).next().unwrap_or_default();
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

fn find_plain(lua: &Lua, text: &[u8], wanted: &[u8]) -> Result<Option<usize>> {
    Meter::new(lua).pass(text.len())?;
    Ok(memmem::find(text, wanted))
}

fn integer(number: usize) -> Value {
    Value::Number(number as f64)
}

fn nothing() -> MultiValue {
    MultiValue::from_iter([Value::Nil])
}
