//! What a script returns, as a reply.

use mlua::{Result, Table, Value};

use super::limits::Meter;
use super::raise::{refuse, reply_error};
use crate::reply::Reply;

pub fn from_lua(value: &Value, meter: &mut Meter) -> Result<Reply<'static>> {
    convert(value, meter, 0)
}

fn convert(value: &Value, meter: &mut Meter, depth: usize) -> Result<Reply<'static>> {
    meter.allocate(size_of::<Reply>())?;
    Ok(match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            meter.allocate(bytes.len())?;
            Reply::owned(&*bytes)
        }
        Value::Integer(number) => Reply::Integer(*number),
        Value::Number(number) => Reply::Integer(truncated(*number)),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(table) => table_reply(table, meter, depth)?,
        _ => Reply::Nil,
    })
}

fn table_reply(table: &Table, meter: &mut Meter, depth: usize) -> Result<Reply<'static>> {
    // Also ends a table that contains itself.
    const DEEPEST: usize = 1000;
    if depth == DEEPEST {
        return Err(refuse("ERR reached lua stack limit"));
    }
    if let Value::String(text) = table.raw_get("err")? {
        return Ok(Reply::Error(reply_error(&text.to_string_lossy())));
    }
    if let Value::String(text) = table.raw_get("ok")? {
        let text = text.to_string_lossy().replace(['\r', '\n'], " ");
        return Ok(Reply::Status(text.into()));
    }
    let mut items = Vec::new();
    loop {
        let item: Value = table.raw_get(items.len() + 1)?;
        if item.is_nil() {
            return Ok(Reply::Array(items));
        }
        items.push(convert(&item, meter, depth + 1)?);
    }
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
