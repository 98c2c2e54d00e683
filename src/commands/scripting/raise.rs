//! The errors of functions written in Rust, in the form of Lua's and Redis's errors.

use std::fmt;

use mlua::debug::Debug;
use mlua::{Function, Lua, MultiValue, Result, Table, Value};

use crate::error::Error;

/// An error that is more than text. mlua cannot raise a Lua value from Rust: `reveal` converts this for scripts.
#[derive(Debug)]
pub enum Raised {
    /// The error reply of a command.
    Reply(Error),
    /// A value that a script's callback raised.
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

/// An error of `redis.call`.
pub fn refuse(text: &'static str) -> mlua::Error {
    Raised::Reply(Error::reply(text)).into()
}

/// The error of `luaL_error`: its text begins with the position of the caller in the script.
pub fn text(lua: &Lua, message: impl fmt::Display) -> mlua::Error {
    // The iterator of `gmatch` is called through the sandbox.
    let is_sandbox = |frame: &Debug| frame.source().short_src.is_some_and(|source| source == "sandbox");
    let level = 1 + usize::from(lua.inspect_stack(1, is_sandbox) == Some(true));
    let place = lua.inspect_stack(level, |caller| {
        let source = caller.source().short_src?;
        Some(format!("{source}:{}: ", caller.current_line()?))
    });
    mlua::Error::runtime(format_args!("{}{message}", place.flatten().unwrap_or_default()))
}

/// The text of an error, without the text that mlua adds.
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

/// An error with a script's text. Redis drops its trailing newlines.
pub fn reply_error(text: &str) -> Error {
    Error::reply(line(until_nul(text).trim_end_matches(['\r', '\n'])))
}

/// The text of a script as one line of RESP.
pub fn line(text: &str) -> String {
    until_nul(text).replace(['\r', '\n'], " ")
}

/// For Redis the text is a C string, which a NUL ends.
fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Calls into the script that keep the value that is raised there. mlua's own calls do not.
pub struct ProtectedCall {
    pcall: Function,
}

impl ProtectedCall {
    pub fn new(lua: &Lua) -> Result<Self> {
        Ok(Self {
            pcall: lua.globals().get("pcall")?,
        })
    }

    /// Calls the first value with the others as arguments.
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

/// The position in the script: `@user_script:1`.
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
