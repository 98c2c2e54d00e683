//! Redis's `cjson` library: <https://redis.io/docs/latest/develop/programmability/lua-api/#cjson-library>

mod decode;
mod encode;

use mlua::{Function, Lua, Result, Table, Value};

use super::arguments::{Arguments, function};

/// How deep values may lie in one another, both ways.
const DEEPEST: usize = 1000;

pub fn library(lua: &Lua) -> Result<Table> {
    let cjson = lua.create_table()?;
    let next: Function = lua.globals().get("next")?;
    let encode = function(lua, move |lua, args| encode::encode(lua, args, &next))?;
    cjson.set("encode", encode)?;
    cjson.set("decode", function(lua, decode::decode)?)?;
    cjson.set("null", Value::NULL)?;
    cjson.set("_NAME", "cjson")?;
    cjson.set("_VERSION", "2.1.0")?;
    Ok(cjson)
}

fn only<'a>(args: &'a Arguments) -> Result<&'a Value> {
    args.get(1)
        .filter(|_| args.count() == 1)
        .ok_or_else(|| args.refuse(1, "expected 1 argument"))
}
