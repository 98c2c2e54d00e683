//! Functions of the `table` library that loop in C, where no hook can stop them: these versions can be stopped, and else behave
//! as Lua's own.
//!
//! <https://www.lua.org/manual/5.1/manual.html#5.5>

use mlua::{FromLua, Function, Integer, IntoLuaMulti, Lua, LuaString, MultiValue, Result, Table, Value};

use super::arguments::{LuaArguments, function};
use super::limits::LuaText;
use super::raise::{self, ProtectedCall, Raised};

/// The elements that are moved or joined at once.
const AT_ONCE: i64 = 4096;

pub fn install(lua: &Lua, native: &Table) -> Result<()> {
    let own: Table = lua.globals().get("table")?;
    let join: Function = own.get("concat")?;
    let up: Function = lua.load(SHIFT).set_name("=sandbox").eval()?;
    let down = up.clone();
    let pcall = ProtectedCall::new(lua)?;
    let order = Order::new(lua, own.get("sort")?)?;
    native.set("insert", function(lua, move |lua, args| insert(lua, args, &up))?)?;
    native.set("remove", function(lua, move |_, args| remove(args, &down))?)?;
    native.set(
        "concat",
        function(lua, move |lua, args| concat(lua, args, &pcall, &join))?,
    )?;
    native.set("sort", function(lua, move |lua, args| order.sort(lua, args))?)
}

/// Moves elements by a step. Upwards, the last ones move first.
const SHIFT: &str = "
local rawget, rawset = rawget, rawset
return function(list, from, to, step)
  for place = from, to, -step do rawset(list, place + step, rawget(list, place)) end
end";

fn insert(lua: &Lua, args: &LuaArguments, shift: &Function) -> Result<()> {
    let table = args.table(1)?;
    let value = |index| args.get(index).unwrap_or(&Value::Nil);
    let place = match args.count() {
        2 => return table.raw_push(value(2)),
        3 => args.int(2)?,
        _ => return Err(raise::text(lua, "wrong number of arguments to 'insert'")),
    };
    let length = table.raw_len() as i64;
    if place >= 1 && place <= length && length - place < AT_ONCE {
        // Lua's integers are as wide as a pointer, as the length is.
        return table.raw_insert(place as Integer, value(3));
    }
    if place <= length {
        shift.call::<()>((table, length, place, 1))?;
    }
    table.raw_set(place, value(3))
}

/// Returns no value, which is not nil, if there is no such element.
fn remove(args: &LuaArguments, shift: &Function) -> Result<MultiValue> {
    let table = args.table(1)?;
    let length = table.raw_len() as i64;
    let place = args.optional_int(2, length)?;
    if place < 1 || place > length {
        return Ok(MultiValue::new());
    }
    let removed: Value = table.raw_get(place)?;
    if length - place < AT_ONCE {
        table.raw_remove(place)?;
    } else {
        shift.call::<()>((table, place + 1, length, -1))?;
        table.raw_set(length, Value::Nil)?;
    }
    Ok(MultiValue::from_iter([removed]))
}

fn concat(lua: &Lua, args: &LuaArguments, pcall: &ProtectedCall, join: &Function) -> Result<LuaString> {
    let separator = match args.get(2) {
        None | Some(Value::Nil) => lua.create_string("")?,
        Some(_) => args.string(2)?,
    };
    let table = args.table(1)?;
    let first = args.optional_int(3, 1)?;
    let last = args.optional_int(4, table.raw_len() as i64)?;
    let join = |first: i64, last: i64| -> Result<LuaString> {
        let arguments = (join, table, &separator, first, last).into_lua_multi(lua)?;
        match pcall.call(arguments) {
            Ok(joined) => LuaString::from_lua(joined, lua),
            Err(error) => Err(match error.downcast_ref() {
                Some(Raised::Value(Value::String(message))) => raise::text(lua, message.to_string_lossy()),
                _ => error,
            }),
        }
    };
    if last - first < AT_ONCE {
        return join(first, last);
    }
    let mut text = LuaText::new(lua);
    for first in (first..=last).step_by(AT_ONCE as usize) {
        text.meter.work(AT_ONCE as usize)?;
        let end = (first + AT_ONCE - 1).min(last);
        text.push(&join(first, end)?.as_bytes())?;
        if end < last {
            text.push(&separator.as_bytes())?;
        }
    }
    text.into_lua()
}

/// Lua's own `sort`, with comparisons that hooks can stop.
struct Order {
    sort: Function,
    less: Function,
    /// Wraps a C function in a Lua function.
    wrap: Function,
    pcall: ProtectedCall,
}

impl Order {
    fn new(lua: &Lua, sort: Function) -> Result<Self> {
        const COMPARISONS: &str = "return
            function(a, b) return a < b end,
            function(compare) return function(a, b) return (compare(a, b)) end end";
        let (less, wrap) = lua.load(COMPARISONS).set_name("=sandbox").eval()?;
        Ok(Self {
            sort,
            less,
            wrap,
            pcall: ProtectedCall::new(lua)?,
        })
    }

    fn sort(&self, lua: &Lua, args: &LuaArguments) -> Result<()> {
        let table = args.table(1)?;
        let compare = match args.get(2) {
            None | Some(Value::Nil) => self.less.clone(),
            Some(_) => {
                let compare = args.function(2)?;
                if compare.info().what == "C" {
                    self.wrap.call(compare)?
                } else {
                    compare.clone()
                }
            }
        };
        let sorted = self.pcall.call((&self.sort, table, compare).into_lua_multi(lua)?);
        sorted.map(drop).map_err(|error| match error.downcast_ref() {
            Some(Raised::Value(Value::String(text))) => match &*text.to_string_lossy() {
                INVALID_ORDER => raise::text(lua, INVALID_ORDER),
                text => match unplaced(text) {
                    Some(text) => mlua::Error::runtime(text),
                    None => error,
                },
            },
            _ => error,
        })
    }
}

const INVALID_ORDER: &str = "invalid order function for sorting";

/// The text of an error in the comparisons, without its position: in C there is none.
fn unplaced(text: &str) -> Option<&str> {
    let (line, text) = text.strip_prefix("sandbox:")?.split_once(": ")?;
    line.parse::<u32>().is_ok().then_some(text)
}
