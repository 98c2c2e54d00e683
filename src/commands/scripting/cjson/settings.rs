//! Settings such as `cjson.encode_max_depth`: each function returns its setting, and changes it if it has an argument.
//!
//! <https://kyne.au/~mark/software/lua-cjson-manual.html>

use std::sync::Arc;

use mlua::{Lua, MultiValue, Result, Table, Value};
use parking_lot::Mutex;

use super::super::arguments::{LuaArguments, function};

/// The settings of one library: the shared one, or one of `cjson.new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CjsonSettings {
    pub encode_sparse_convert: bool,
    pub encode_sparse_ratio: i32,
    pub encode_sparse_safe: i32,
    pub encode_max_depth: i32,
    pub encode_number_precision: i32,
    pub encode_invalid_numbers: Invalid,
    /// Stored only: here no buffer outlives a call.
    pub encode_keep_buffer: bool,
    pub decode_max_depth: i32,
    pub decode_invalid_numbers: bool,
}

/// How infinite numbers and NaN are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    Refused,
    Words,
    Null,
}

impl Default for CjsonSettings {
    fn default() -> Self {
        Self {
            encode_sparse_convert: false,
            encode_sparse_ratio: 2,
            encode_sparse_safe: 10,
            encode_max_depth: 1000,
            encode_number_precision: 14,
            encode_invalid_numbers: Invalid::Refused,
            encode_keep_buffer: true,
            decode_max_depth: 1000,
            decode_invalid_numbers: true,
        }
    }
}

pub type SharedSettings = Arc<Mutex<CjsonSettings>>;

pub fn install(lua: &Lua, cjson: &Table, settings: &SharedSettings) -> Result<()> {
    let set = |name: &str, most: usize, change: Setter| {
        let settings = settings.clone();
        let setter = function(lua, move |_, args| {
            if args.count() > most {
                return Err(args.refuse(most + 1, "found too many arguments"));
            }
            change(args, &mut settings.lock())
        })?;
        cjson.set(name, setter)
    };
    set("encode_sparse_array", 3, |args, settings| {
        let convert = boolean(args, 1, &mut settings.encode_sparse_convert)?;
        let ratio = integer(args, 2, &mut settings.encode_sparse_ratio, 0, i32::MAX)?;
        let safe = integer(args, 3, &mut settings.encode_sparse_safe, 0, i32::MAX)?;
        Ok(MultiValue::from_iter([convert, ratio, safe]))
    })?;
    set("encode_max_depth", 1, |args, settings| {
        integer(args, 1, &mut settings.encode_max_depth, 1, i32::MAX).map(single)
    })?;
    set("decode_max_depth", 1, |args, settings| {
        integer(args, 1, &mut settings.decode_max_depth, 1, i32::MAX).map(single)
    })?;
    set("encode_number_precision", 1, |args, settings| {
        integer(args, 1, &mut settings.encode_number_precision, 1, 14).map(single)
    })?;
    set("encode_keep_buffer", 1, |args, settings| {
        boolean(args, 1, &mut settings.encode_keep_buffer).map(single)
    })?;
    set("encode_invalid_numbers", 1, |args, settings| {
        invalid(args, 1, &mut settings.encode_invalid_numbers).map(single)
    })?;
    set("decode_invalid_numbers", 1, |args, settings| {
        boolean(args, 1, &mut settings.decode_invalid_numbers).map(single)
    })
}

fn single(value: Value) -> MultiValue {
    MultiValue::from_iter([value])
}

/// Returns all values of a setting.
type Setter = fn(&LuaArguments, &mut CjsonSettings) -> Result<MultiValue>;

fn given<'a>(args: &'a LuaArguments, index: usize) -> Option<&'a Value> {
    args.get(index).filter(|value| !value.is_nil())
}

fn integer(args: &LuaArguments, index: usize, setting: &mut i32, least: i32, most: i32) -> Result<Value> {
    if given(args, index).is_some() {
        let value = args.int(index)? as i32;
        if !(least..=most).contains(&value) {
            // lua-cjson always names the first argument.
            return Err(args.refuse(1, &format!("expected integer between {least} and {most}")));
        }
        *setting = value;
    }
    Ok(Value::Number((*setting).into()))
}

fn boolean(args: &LuaArguments, index: usize, setting: &mut bool) -> Result<Value> {
    match given(args, index) {
        None => {}
        Some(Value::Boolean(value)) => *setting = *value,
        Some(_) => *setting = option(args, index, &["off", "on"])? == 1,
    }
    Ok(Value::Boolean(*setting))
}

fn invalid(args: &LuaArguments, index: usize, setting: &mut Invalid) -> Result<Value> {
    const ALL: [Invalid; 3] = [Invalid::Refused, Invalid::Words, Invalid::Null];
    match given(args, index) {
        None => {}
        Some(Value::Boolean(value)) => *setting = ALL[usize::from(*value)],
        Some(_) => *setting = ALL[option(args, index, &["off", "on", "null"])?],
    }
    match setting {
        Invalid::Refused => Ok(Value::Boolean(false)),
        Invalid::Words => Ok(Value::Boolean(true)),
        Invalid::Null => args.text("null"),
    }
}

/// The index of the word, as `luaL_checkoption` finds it.
fn option(args: &LuaArguments, index: usize, words: &[&str]) -> Result<usize> {
    let given = args.string(index)?;
    let given = given.to_string_lossy();
    // A C string, which a NUL ends.
    let given = given.split('\0').next().unwrap_or_default();
    let found = words.iter().position(|word| *word == given);
    found.ok_or_else(|| args.refuse(index, &format!("invalid option '{given}'")))
}
