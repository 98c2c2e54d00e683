//! Converts the result of a script to a reply.

use mlua::{LuaString, Result, Table, Value};

use super::limits::Meter;
use super::raise::{line, refuse, reply_error};
use crate::reply::Reply;

/// Without recursion: tables may nest deeper than a thread's stack allows.
pub fn from_lua(value: Value, meter: &mut Meter) -> Result<Reply<'static>> {
    // This also ends a table that contains itself.
    const DEEPEST: usize = 1000;
    let mut open: Vec<(Table, Vec<Reply>)> = Vec::new();
    let mut value = value;
    loop {
        // None for a table whose items follow.
        let mut whole = match value {
            Value::Table(table) => {
                let single = single(&table, meter)?;
                if single.is_none() {
                    open.push((table, Vec::new()));
                }
                single
            }
            simple => Some(simple_reply(&simple, meter)?),
        };
        if open.len() > DEEPEST {
            return Err(refuse("ERR reached lua stack limit"));
        }
        value = loop {
            let Some((table, mut items)) = open.pop() else {
                return Ok(whole.unwrap_or(Reply::Nil));
            };
            meter.allocate(size_of::<Reply>())?;
            items.extend(whole);
            let item: Value = table.raw_get(items.len() + 1)?;
            if !item.is_nil() {
                open.push((table, items));
                break item;
            }
            whole = Some(Reply::Array(items));
        };
    }
}

/// The reply of `{err = …}` and `{ok = …}`.
fn single(table: &Table, meter: &mut Meter) -> Result<Option<Reply<'static>>> {
    if let Value::String(error) = table.raw_get("err")? {
        return Ok(Some(Reply::Error(reply_error(&text(&error, meter)?))));
    }
    if let Value::String(status) = table.raw_get("ok")? {
        return Ok(Some(Reply::Status(line(&text(&status, meter)?).into())));
    }
    Ok(None)
}

/// The text of a line of a reply.
pub fn text(text: &LuaString, meter: &mut Meter) -> Result<String> {
    // It is copied to be valid UTF-8, to be one line, and into the reply.
    const COPIES: usize = 3;
    meter.allocate(text.as_bytes().len().saturating_mul(COPIES))?;
    Ok(text.to_string_lossy())
}

fn simple_reply(value: &Value, meter: &mut Meter) -> Result<Reply<'static>> {
    Ok(match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            meter.allocate(bytes.len())?;
            Reply::owned(&*bytes)
        }
        Value::Integer(number) => Reply::Integer(truncated(*number as f64)),
        Value::Number(number) => Reply::Integer(truncated(*number)),
        Value::Boolean(true) => Reply::Integer(1),
        _ => Reply::Nil,
    })
}

/// The result of a C cast on x86: NaN, and a number that does not fit, become the least integer.
fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}
