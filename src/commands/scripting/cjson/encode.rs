//! Converts Lua values to JSON.

use mlua::{Function, Lua, LuaString, Result, Table, Value};

use super::super::arguments::{LuaArguments, type_name};
use super::super::decimal::general;
use super::super::limits::LuaText;
use super::super::raise;
use super::settings::{CjsonSettings, Invalid};
use super::{DEEPEST, only};

/// `next`: Lua's own function.
pub fn encode(
    lua: &Lua,
    args: &LuaArguments,
    settings: &CjsonSettings,
    next: &Function,
) -> Result<LuaString> {
    let mut encoder = Encoder {
        lua,
        settings,
        next,
        json: LuaText::new(lua),
    };
    encoder.document(only(args)?)?;
    encoder.json.into_lua()
}

struct Encoder<'a> {
    lua: &'a Lua,
    settings: &'a CjsonSettings,
    next: &'a Function,
    json: LuaText<'a>,
}

/// A table that is being written.
enum TableCursor {
    /// With the number of items written, and of all items.
    Array(Table, usize, usize),
    /// With the last key written.
    Object(Table, Value),
}

impl Encoder<'_> {
    /// Without recursion: tables may nest deeper than a thread's stack allows.
    fn document(&mut self, value: &Value) -> Result<()> {
        let mut open: Vec<TableCursor> = self.value(value, 1)?.into_iter().collect();
        while let Some(table) = open.last_mut() {
            if let Some(value) = self.item(table)? {
                open.extend(self.value(&value, open.len() + 1)?);
            } else {
                open.pop();
            }
        }
        Ok(())
    }

    /// Writes a value, or the start of a table at this depth.
    fn value(&mut self, value: &Value, depth: usize) -> Result<Option<TableCursor>> {
        match value {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::Boolean(yes) => self.json.push(if *yes { b"true" } else { b"false" })?,
            Value::Nil | Value::LightUserData(_) => self.json.push(b"null")?,
            Value::Table(table) => {
                if depth > DEEPEST.min(self.settings.encode_max_depth as usize) {
                    let message = format_args!("Cannot serialise, excessive nesting ({depth})");
                    return Err(raise::text(self.lua, message));
                }
                let table = table.clone();
                return Ok(Some(match self.array_length(&table)? {
                    Some(length) => {
                        self.json.push(b"[")?;
                        TableCursor::Array(table, 0, length)
                    }
                    None => {
                        self.json.push(b"{")?;
                        TableCursor::Object(table, Value::Nil)
                    }
                }));
            }
            other => return Err(self.refuse(type_name(other), "type not supported")),
        }
        Ok(None)
    }

    /// Writes the comma and the key of the next item, and returns the item. At the end writes the bracket.
    fn item(&mut self, table: &mut TableCursor) -> Result<Option<Value>> {
        match table {
            TableCursor::Array(_, written, length) if written == length => {
                self.json.push(b"]")?;
                Ok(None)
            }
            TableCursor::Array(table, written, _) => {
                if *written > 0 {
                    self.json.push(b",")?;
                }
                *written += 1;
                table.raw_get(*written).map(Some)
            }
            TableCursor::Object(table, last) => {
                let (key, value) = self.next.call::<(Value, Value)>((&*table, &*last))?;
                if key.is_nil() {
                    self.json.push(b"}")?;
                    return Ok(None);
                }
                if !last.is_nil() {
                    self.json.push(b",")?;
                }
                self.key(&key)?;
                *last = key;
                Ok(Some(value))
            }
        }
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        match key {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(_) | Value::Number(_) => {
                self.json.push(b"\"")?;
                self.value(key, 0)?;
                self.json.push(b"\"")?;
            }
            other => return Err(self.refuse(type_name(other), "table key must be a number or string")),
        }
        self.json.push(b":")
    }

    /// The length of a table whose keys are positive integers. None for other keys, and for an empty table.
    fn array_length(&mut self, table: &Table) -> Result<Option<usize>> {
        let CjsonSettings {
            encode_sparse_ratio: ratio,
            encode_sparse_safe: always_dense,
            encode_sparse_convert: becomes_object,
            ..
        } = *self.settings;
        let (mut highest, mut items) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            self.json.meter.step()?;
            let Value::Integer(key @ 1..) = pair?.0 else {
                return Ok(None);
            };
            highest = highest.max(key as usize);
            items += 1;
        }
        let is_sparse = highest > always_dense as usize && highest > items * ratio as usize;
        if ratio > 0 && is_sparse {
            return if becomes_object {
                Ok(None)
            } else {
                Err(self.refuse("table", "excessively sparse array"))
            };
        }
        Ok((highest > 0).then_some(highest))
    }

    fn number(&mut self, number: f64) -> Result<()> {
        if number.is_finite() {
            let digits = self.settings.encode_number_precision as usize;
            return self.json.push(general(number, digits).as_bytes());
        }
        match self.settings.encode_invalid_numbers {
            Invalid::Refused => Err(self.refuse("number", "must not be NaN or Inf")),
            Invalid::Null => self.json.push(b"null"),
            Invalid::Words => self.json.push(match number {
                f64::INFINITY => b"inf",
                f64::NEG_INFINITY => b"-inf",
                _ => b"nan",
            }),
        }
    }

    fn string(&mut self, text: &[u8]) -> Result<()> {
        self.json.push(b"\"")?;
        let mut rest = text;
        while let Some(at) = rest.iter().position(|&byte| is_escaped(byte)) {
            self.json.push(&rest[..at])?;
            match rest[at] {
                byte @ (b'"' | b'\\' | b'/') => self.json.push(&[b'\\', byte])?,
                0x08 => self.json.push(b"\\b")?,
                b'\t' => self.json.push(b"\\t")?,
                b'\n' => self.json.push(b"\\n")?,
                0x0c => self.json.push(b"\\f")?,
                b'\r' => self.json.push(b"\\r")?,
                byte => self.json.push(format!("\\u{byte:04x}").as_bytes())?,
            }
            rest = &rest[at + 1..];
        }
        self.json.push(rest)?;
        self.json.push(b"\"")
    }

    fn refuse(&self, kind: &str, reason: &str) -> mlua::Error {
        raise::text(self.lua, format_args!("Cannot serialise {kind}: {reason}"))
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'/') || byte.is_ascii_control()
}
