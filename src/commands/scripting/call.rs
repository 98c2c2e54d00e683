//! `redis.call`: converts Lua values to a command, and its reply to Lua values.

use mlua::{BorrowedBytes, IntoLua, Lua, MultiValue, Result, Value};
use smallvec::SmallVec;

use super::decimal::general;
use super::limits::check_deadline;
use super::raise::{Raised, refuse};
use crate::commands::{COMMANDS, CommandShape, Database, index_of};
use crate::reply::Reply;

/// `writes`: whether the script may change data.
pub fn call(db: &mut Database, lua: &Lua, values: &MultiValue, writes: bool) -> Result<Value> {
    // A script that spends its time in commands runs few hooks.
    check_deadline(lua)?;
    let words = values.iter().map(CallArgument::new);
    let words: SmallVec<[CallArgument; 8]> = words
        .collect::<Option<_>>()
        .ok_or_else(|| refuse("ERR Lua redis lib command arguments must be strings or integers"))?;
    let words: SmallVec<[&[u8]; 8]> = words.iter().map(CallArgument::bytes).collect();
    let Some((name, args)) = words.split_first() else {
        return Err(refuse(
            "ERR Please specify at least one argument for this redis lib call",
        ));
    };
    let command = match index_of(name) {
        Some(index) => COMMANDS[index],
        None => return Err(refuse("ERR Unknown Redis command called from script")),
    };
    if command.check_arity(args.len()).is_err() {
        return Err(refuse(
            "ERR Wrong number of args calling Redis command from script",
        ));
    }
    if command.shape == CommandShape::Script {
        return Err(refuse("ERR This Redis command is not allowed from script"));
    }
    if !writes && command.writes {
        return Err(refuse(
            "ERR Write commands are not allowed from read-only scripts.",
        ));
    }
    let reply = db.execute(command, args).map_err(Raised::Reply)?;
    LuaReply(reply).into_lua(lua)
}

enum CallArgument {
    Text(BorrowedBytes),
    Number(String),
}

impl CallArgument {
    fn new(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(CallArgument::Text(text.as_bytes())),
            Value::Integer(number) => Some(CallArgument::Number(general(*number as f64, 17))),
            Value::Number(number) => Some(CallArgument::Number(general(*number, 17))),
            _ => None,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            CallArgument::Text(text) => text,
            CallArgument::Number(text) => text.as_bytes(),
        }
    }
}

struct LuaReply<'a>(Reply<'a>);

impl IntoLua for LuaReply<'_> {
    fn into_lua(self, lua: &Lua) -> Result<Value> {
        let field = |name: &str, text: &str| {
            let table = lua.create_table_with_capacity(0, 1)?;
            table.raw_set(name, text)?;
            Ok(Value::Table(table))
        };
        match self.0 {
            Reply::Nil => Ok(Value::Boolean(false)),
            Reply::Integer(number) => Ok(Value::Number(number as f64)),
            Reply::Bulk(bytes) => lua.create_string(bytes).map(Value::String),
            // The format of Redis 7.0, for replies and for numbers among the arguments.
            Reply::Double(number) | Reply::Score(number) => {
                lua.create_string(general(number, 17)).map(Value::String)
            }
            Reply::Array(items) => lua
                .create_sequence_from(items.into_iter().map(LuaReply))
                .map(Value::Table),
            Reply::Status(text) => field("ok", &text),
            Reply::Error(error) => field("err", &error.message),
        }
    }
}
