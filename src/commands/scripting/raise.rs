//! The errors of functions written in Rust, as Lua's and Redis's own.

use std::fmt;

use mlua::debug::Debug;
use mlua::{Function, Lua, MultiValue, Result, Table, Value};

use crate::error::Error;

/// What a function raises that is more than a text. mlua lets Rust raise no value of Lua's: scripts see what `reveal` makes of it.
#[derive(Debug)]
pub enum Raised {
    /// A command that was refused.
    Reply(Error),
    /// What a script's own callback raised.
    Value(Value),
}

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Raised::Reply(error) => formatter.write_str(&error.message),
            Raised::Value(value) => write!(formatter, "{value:?}"),
        }
    }
}

impl std::error::Error for Raised {}

impl From<Raised> for mlua::Error {
    fn from(raised: Raised) -> Self {
        mlua::Error::external(raised)
    }
}

/// Refuses a `redis.call`.
pub fn refuse(text: &'static str) -> mlua::Error {
    Raised::Reply(Error::reply(text)).into()
}

/// A text as `luaL_error` makes it: with the place in the script that called the function.
pub fn text(lua: &Lua, message: impl fmt::Display) -> mlua::Error {
    // What `gmatch` gives is called through the sandbox.
    let is_sandbox = |frame: &Debug| frame.source().short_src.is_some_and(|source| source == "sandbox");
    let level = 1 + usize::from(lua.inspect_stack(1, is_sandbox) == Some(true));
    let place = lua.inspect_stack(level, |caller| {
        let source = caller.source().short_src?;
        Some(format!("{source}:{}: ", caller.current_line()?))
    });
    mlua::Error::runtime(format_args!("{}{message}", place.flatten().unwrap_or_default()))
}

/// The text of an error without what mlua wraps around it.
pub fn message(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. }
        | mlua::Error::WithContext { cause, .. }
        | mlua::Error::BadArgument { cause, .. } => message(cause),
        mlua::Error::RuntimeError(message) | mlua::Error::SyntaxError { message, .. } => message.clone(),
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        other => other.to_string(),
    }
}

/// The error of a whole script.
pub fn error(error: &mlua::Error) -> Error {
    match error.downcast_ref() {
        Some(Raised::Reply(error)) => error.clone(),
        _ => reply_error(&format!("ERR {}", message(error))),
    }
}

/// An error with a text of the script's making, of which Redis drops the newlines at the end.
pub fn reply_error(text: &str) -> Error {
    Error::reply(line(until_nul(text).trim_end_matches(['\r', '\n'])))
}

/// A script's text as one line of RESP.
pub fn line(text: &str) -> String {
    until_nul(text).replace(['\r', '\n'], " ")
}

/// To Redis a text of these is a string of C, which a NUL ends.
fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Calls into the script that leave what is raised there as it is, which mlua's own calls do not.
pub struct Guard {
    pcall: Function,
}

impl Guard {
    pub fn new(lua: &Lua) -> Result<Self> {
        Ok(Self {
            pcall: lua.globals().get("pcall")?,
        })
    }

    /// Calls the first of the values with the others.
    pub fn call(&self, values: MultiValue) -> Result<Value> {
        match self.pcall.call(values)? {
            (true, value) => Ok(value),
            (false, Value::Error(error)) => Err(*error),
            (false, value) => Err(Raised::Value(value).into()),
        }
    }
}

pub fn install(lua: &Lua, native: &Table) -> Result<()> {
    native.set("reveal", lua.create_function(reveal)?)?;
    native.set("position", lua.create_function(|lua, ()| Ok(position(lua)))?)
}

fn reveal(lua: &Lua, value: Value) -> Result<Value> {
    let Value::Error(error) = value else {
        return Ok(value);
    };
    match error.downcast_ref() {
        Some(Raised::Reply(error)) => {
            let table = lua.create_table()?;
            table.raw_set("err", &*error.message)?;
            Ok(Value::Table(table))
        }
        Some(Raised::Value(value)) => Ok(value.clone()),
        None => lua.create_string(message(&error)).map(Value::String),
    }
}

/// Where the script is: `@user_script:1`.
fn position(lua: &Lua) -> Option<String> {
    let mut level = 1;
    loop {
        let line = lua.inspect_stack(level, |frame| {
            let source = frame.source().source;
            let line = frame.current_line()?;
            source
                .filter(|source| *source == "@user_script")
                .map(|source| format!("{source}:{line}"))
        })?;
        if line.is_some() {
            return line;
        }
        level += 1;
    }
}
