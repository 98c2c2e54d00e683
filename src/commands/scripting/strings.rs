//! Functions of the `string` library that a script could misuse: they are metered here, and do in all else what Lua's own do.
//!
//! <https://www.lua.org/manual/5.1/manual.html#5.4>

use std::ops::Range;

use mlua::{Function, Lua, LuaString, MultiValue, Result, Table, Value};

use super::arguments::{Arguments, function, type_name};
use super::limits::Meter;
use super::patterns::{Captured, Matcher};
use super::raise::{self, Raised};

pub fn install(lua: &Lua, native: &Table) -> Result<()> {
    let pcall: Function = lua.globals().get("pcall")?;
    native.set("find", function(lua, |lua, args| find(lua, args, true))?)?;
    native.set("match", function(lua, |lua, args| find(lua, args, false))?)?;
    native.set("next_match", function(lua, next_match)?)?;
    native.set("gsub", function(lua, move |lua, args| gsub(lua, args, &pcall))?)?;
    native.set("rep", function(lua, rep)?)
}

fn find(lua: &Lua, args: &Arguments, positions: bool) -> Result<MultiValue> {
    let (text, pattern) = (args.string(1)?, args.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let start = start(args.optional_integer(3, 1)?, text.len());
    if positions && (args.flag(4) || is_plain(&pattern)) {
        let found = find_plain(lua, &text[start..], &pattern)?;
        let found = found.map(|at| [start + at + 1, start + at + pattern.len()]);
        return Ok(found.map_or_else(nothing, |ends| ends.into_iter().map(integer).collect()));
    }
    let mut matcher = Matcher::new(lua, &text, &pattern);
    let anchored = pattern.first() == Some(&b'^');
    let Some(whole) = matcher.search(start, usize::from(anchored), anchored)? else {
        return Ok(nothing());
    };
    let mut found = MultiValue::new();
    if positions {
        found.extend([integer(whole.start + 1), integer(whole.end)]);
    }
    let captures = matcher.captures().max(usize::from(!positions));
    push_captures(lua, &mut found, &text, &matcher, &whole, captures)?;
    Ok(found)
}

/// One step of `gmatch`: where the next begins, and the captures.
fn next_match(lua: &Lua, args: &Arguments) -> Result<MultiValue> {
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
    let mut found = MultiValue::from_iter([integer(next)]);
    let captures = matcher.captures().max(1);
    push_captures(lua, &mut found, &text, &matcher, &whole, captures)?;
    Ok(found)
}

fn gsub(lua: &Lua, args: &Arguments, pcall: &Function) -> Result<(LuaString, usize)> {
    let (text, pattern) = (args.string(1)?, args.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let most = args.optional_integer(4, i64::MAX)?;
    let replacement = match args.get(3) {
        Some(Value::Table(table)) => Replacement::Table(table),
        Some(Value::Function(function)) => Replacement::Function(function, pcall),
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => Replacement::Text(args.string(3)?),
        _ => return Err(args.refuse(3, "string/function/table expected")),
    };
    let anchored = pattern.first() == Some(&b'^');
    let mut matcher = Matcher::new(lua, &text, &pattern);
    let mut meter = Meter::new(lua);
    let mut result = Vec::new();
    let (mut at, mut count) = (0, 0);
    while (count as i64) < most {
        let end = matcher.match_at(at, usize::from(anchored))?;
        let before = result.len();
        if let Some(end) = end {
            count += 1;
            replacement.write(lua, &mut result, &text, &matcher, &(at..end))?;
        }
        match end {
            Some(end) if end > at => at = end,
            _ if at < text.len() => {
                result.push(text[at]);
                at += 1;
            }
            _ => break,
        }
        meter.allocate(result.len() - before)?;
        if anchored {
            break;
        }
    }
    meter.allocate(text.len() - at)?;
    result.extend_from_slice(&text[at..]);
    Ok((lua.create_string(result)?, count))
}

enum Replacement<'a> {
    Text(LuaString),
    Table(&'a Table),
    /// With Lua's own `pcall`, by which what the function raises stays what it is.
    Function(&'a Function, &'a Function),
}

impl Replacement<'_> {
    fn write(
        &self,
        lua: &Lua,
        result: &mut Vec<u8>,
        text: &[u8],
        matcher: &Matcher,
        whole: &Range<usize>,
    ) -> Result<()> {
        let value = match self {
            Replacement::Text(template) => {
                return expand(result, text, matcher, whole, &template.as_bytes());
            }
            Replacement::Table(table) => {
                table.get::<Value>(value(lua, text, matcher.capture(0, whole)?)?)?
            }
            Replacement::Function(function, pcall) => {
                let mut arguments = MultiValue::from_iter([Value::Function((*function).clone())]);
                let captures = matcher.captures().max(1);
                push_captures(lua, &mut arguments, text, matcher, whole, captures)?;
                match pcall.call::<(bool, Value)>(arguments)? {
                    (true, value) => value,
                    (false, Value::Error(error)) => return Err(*error),
                    (false, value) => return Err(Raised::Value(value).into()),
                }
            }
        };
        match value {
            Value::Nil | Value::Boolean(false) => result.extend_from_slice(&text[whole.clone()]),
            Value::String(text) => result.extend_from_slice(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                if let Some(text) = lua.coerce_string(value)? {
                    result.extend_from_slice(&text.as_bytes());
                }
            }
            other => {
                let kind = type_name(&other);
                return Err(raise::text(lua, format_args!("invalid replacement value (a {kind})")));
            }
        }
        Ok(())
    }
}

/// Writes a replacement text with its `%1`.
fn expand(
    result: &mut Vec<u8>,
    text: &[u8],
    matcher: &Matcher,
    whole: &Range<usize>,
    template: &[u8],
) -> Result<()> {
    let mut bytes = template.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            result.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => result.extend_from_slice(&text[whole.clone()]),
            Some(digit @ b'1'..=b'9') => match matcher.capture(usize::from(digit - b'1'), whole)? {
                Captured::Text(range) => result.extend_from_slice(&text[range]),
                Captured::Position(position) => result.extend_from_slice(position.to_string().as_bytes()),
            },
            // As in Lua 5.1, which reads the NUL after a text that ends with a single `%`.
            other => result.push(other.copied().unwrap_or(0)),
        }
    }
    Ok(())
}

fn rep(lua: &Lua, args: &Arguments) -> Result<LuaString> {
    let (text, count) = (args.string(1)?, args.integer(2)?);
    let text = text.as_bytes();
    let count = usize::try_from(count).unwrap_or(0);
    Meter::new(lua).allocate(text.len().saturating_mul(count))?;
    lua.create_string(text.repeat(count))
}

fn push_captures(
    lua: &Lua,
    values: &mut MultiValue,
    text: &[u8],
    matcher: &Matcher,
    whole: &Range<usize>,
    count: usize,
) -> Result<()> {
    for index in 0..count {
        values.push_back(value(lua, text, matcher.capture(index, whole)?)?);
    }
    Ok(())
}

fn value(lua: &Lua, text: &[u8], captured: Captured) -> Result<Value> {
    match captured {
        Captured::Position(position) => Ok(integer(position)),
        Captured::Text(range) => lua.create_string(&text[range]).map(Value::String),
    }
}

/// Turns the third argument of `find`, counted from the end if it is negative, into an offset.
fn start(init: i64, length: usize) -> usize {
    let from_end = if init < 0 { init.saturating_add(length as i64 + 1) } else { init };
    (from_end - 1).clamp(0, length as i64) as usize
}

fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

fn find_plain(lua: &Lua, text: &[u8], wanted: &[u8]) -> Result<Option<usize>> {
    let Some(first) = wanted.first() else {
        return Ok(Some(0));
    };
    let mut meter = Meter::new(lua);
    for (at, byte) in text.iter().enumerate() {
        meter.step()?;
        if byte == first && text[at..].starts_with(wanted) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn integer(number: usize) -> Value {
    Value::Number(number as f64)
}

fn nothing() -> MultiValue {
    MultiValue::from_iter([Value::Nil])
}
