//! What a script returns, as a reply.

use mlua::{LuaString, Result, Table, Value};

use super::limits::Meter;
use super::raise::{line, refuse, reply_error};
use crate::reply::Reply;

/// Without recursion: tables may lie in one another deeper than a thread's stack.
pub fn from_lua(value: Value, meter: &mut Meter) -> Result<Reply<'static>> {
    // A table that contains itself ends here too.
    const DEEPEST: usize = 1000;
    let mut open: Vec<(Table, Vec<Reply>)> = Vec::new();
    let mut value = value;
    loop {
        // None if it is a table whose items follow.
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

/// Of `{err = …}` and `{ok = …}`.
fn single(table: &Table, meter: &mut Meter) -> Result<Option<Reply<'static>>> {
    if let Value::String(error) = table.raw_get("err")? {
        return Ok(Some(Reply::Error(reply_error(&text(&error, meter)?))));
    }
    if let Value::String(status) = table.raw_get("ok")? {
        return Ok(Some(Reply::Status(line(&text(&status, meter)?).into())));
    }
    Ok(None)
}

/// A text that becomes a line of a reply.
pub fn text(text: &LuaString, meter: &mut Meter) -> Result<String> {
    // It is copied when its bytes are made UTF-8, when they are made a line, and into the reply.
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

/// What a C cast makes of it on the machines Redis runs on: what does not fit, and NaN, is the least integer.
fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}
