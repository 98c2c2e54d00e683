//! Redis's `cjson` library: <https://redis.io/docs/latest/develop/programmability/lua-api/#cjson-library>

mod decode;
mod encode;
mod settings;

use std::sync::Arc;

use mlua::{Function, Lua, Result, Table, Value};

use super::arguments::{LuaArguments, function};
use settings::{CjsonSettings, SharedSettings};

/// The deepest nesting, whatever the settings allow. In lua-cjson Lua's stack ends at 4,000 objects, or 8,000 arrays.
const DEEPEST: usize = 2600;

/// The library of all scripts. Each script starts with the default settings.
pub struct Cjson {
    pub library: Table,
    settings: SharedSettings,
}

impl Cjson {
    pub fn new(lua: &Lua) -> Result<Self> {
        let settings = SharedSettings::default();
        let next = Arc::new(lua.globals().get("next")?);
        Ok(Self {
            library: library(lua, &settings, &next)?,
            settings,
        })
    }

    pub fn reset(&self) {
        *self.settings.lock() = CjsonSettings::default();
    }
}

/// `next`: Lua's own function. Shared, as each reference from Rust takes one of few slots in the Lua state.
fn library(lua: &Lua, settings: &SharedSettings, next: &Arc<Function>) -> Result<Table> {
    let cjson = lua.create_table()?;
    settings::install(lua, &cjson, settings)?;
    let (own, own_next) = (settings.clone(), next.clone());
    let encode = function(lua, move |lua, args| {
        encode::encode(lua, args, &own.lock().clone(), &own_next)
    })?;
    cjson.set("encode", encode)?;
    let own = settings.clone();
    let decode = function(lua, move |lua, args| {
        decode::decode(lua, args, &own.lock().clone())
    })?;
    cjson.set("decode", decode)?;
    let next = next.clone();
    let new = function(lua, move |lua, _| library(lua, &SharedSettings::default(), &next))?;
    cjson.set("new", new)?;
    cjson.set("null", Value::NULL)?;
    cjson.set("_NAME", "cjson")?;
    cjson.set("_VERSION", "2.1.0")?;
    Ok(cjson)
}

fn only<'a>(args: &'a LuaArguments) -> Result<&'a Value> {
    args.get(1)
        .filter(|_| args.count() == 1)
        .ok_or_else(|| args.refuse(1, "expected 1 argument"))
}
