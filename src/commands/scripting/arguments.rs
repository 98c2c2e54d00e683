//! The arguments of a function written in Rust, checked as `luaL_check…` does.

use mlua::{Function, IntoLuaMulti, Lua, LuaString, MultiValue, Result, Table, Value};

use super::raise;

pub struct LuaArguments<'a> {
    lua: &'a Lua,
    values: MultiValue,
}

impl LuaArguments<'_> {
    /// An argument, counted from 1.
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index - 1)
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }

    pub fn string(&self, index: usize) -> Result<LuaString> {
        match self.get(index) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(number @ (Value::Integer(_) | Value::Number(_))) => self
                .lua
                .coerce_string(number.clone())?
                .ok_or_else(|| self.wrong(index, "string")),
            _ => Err(self.wrong(index, "string")),
        }
    }

    pub fn number(&self, index: usize) -> Result<f64> {
        let value = self.get(index).cloned().unwrap_or(Value::Nil);
        let number = self.lua.coerce_number(value)?;
        number.ok_or_else(|| self.wrong(index, "number"))
    }

    pub fn integer(&self, index: usize) -> Result<i64> {
        self.number(index).map(|number| number as i64)
    }

    pub fn optional_integer(&self, index: usize, default: i64) -> Result<i64> {
        match self.get(index) {
            None | Some(Value::Nil) => Ok(default),
            Some(_) => self.integer(index),
        }
    }

    /// The argument as a C `int`, without the higher bits.
    pub fn int(&self, index: usize) -> Result<i64> {
        self.integer(index).map(|number| i64::from(number as i32))
    }

    pub fn optional_int(&self, index: usize, default: i64) -> Result<i64> {
        self.optional_integer(index, default)
            .map(|number| i64::from(number as i32))
    }

    pub fn table(&self, index: usize) -> Result<&Table> {
        match self.get(index) {
            Some(Value::Table(table)) => Ok(table),
            _ => Err(self.wrong(index, "table")),
        }
    }

    pub fn function(&self, index: usize) -> Result<&Function> {
        match self.get(index) {
            Some(Value::Function(function)) => Ok(function),
            _ => Err(self.wrong(index, "function")),
        }
    }

    /// A string to return.
    pub fn text(&self, text: &str) -> Result<Value> {
        self.lua.create_string(text).map(Value::String)
    }

    pub fn flag(&self, index: usize) -> bool {
        !matches!(self.get(index), None | Some(Value::Nil | Value::Boolean(false)))
    }

    fn wrong(&self, index: usize, expected: &str) -> mlua::Error {
        let got = self.get(index).map_or("no value", type_name);
        self.refuse(index, &format!("{expected} expected, got {got}"))
    }

    /// The error of `luaL_argerror`, with the name by which the script called the function.
    pub fn refuse(&self, index: usize, problem: &str) -> mlua::Error {
        let called = self.lua.inspect_stack(0, |function| {
            let names = function.names();
            let is_method = names.name_what.is_some_and(|what| what == "method");
            (names.name.map(|name| name.into_owned()), is_method)
        });
        let (name, is_method) = called.unwrap_or_default();
        let name = name.unwrap_or_else(|| "?".to_owned());
        match index - usize::from(is_method) {
            0 => raise::text(self.lua, format_args!("calling '{name}' on bad self ({problem})")),
            index => raise::text(
                self.lua,
                format_args!("bad argument #{index} to '{name}' ({problem})"),
            ),
        }
    }
}

pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Number(_) => "number",
        Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}

type Body = Box<dyn Fn(&Lua, &LuaArguments) -> Result<MultiValue> + Send>;

/// A function for scripts that checks its own arguments.
pub fn function<R: IntoLuaMulti>(
    lua: &Lua,
    body: impl Fn(&Lua, &LuaArguments) -> Result<R> + Send + 'static,
) -> Result<Function> {
    boxed(
        lua,
        Box::new(move |lua, arguments| body(lua, arguments)?.into_lua_multi(lua)),
    )
}

/// Compiled once for all functions: a copy for each takes 60 KB.
fn boxed(lua: &Lua, body: Body) -> Result<Function> {
    lua.create_function(move |lua, values| body(lua, &LuaArguments { lua, values }))
}
