//! A Lua state with its compiled scripts.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use mlua::chunk::ChunkMode;
use mlua::{Function, IntoLua, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value};
use sha1::{Digest, Sha1};

use super::cjson::Cjson;
use super::limits::{self, Meter, ScriptRun};
use super::shebang::{self, Shebang};
use super::{call, numbers, raise, reply, strings, tables};
use crate::commands::{Args, Database};
use crate::error::{Error, Result};
use crate::reply::Reply;

pub struct ScriptEngine {
    lua: Lua,
    /// A function of `sandbox.lua`: runs a chunk in an environment of its own.
    run: Function,
    cjson: Cjson,
    scripts: HashMap<Vec<u8>, Script, RandomState>,
    /// The total size of the keys of `scripts`.
    script_bytes: usize,
}

/// Without a limit: with one, mlua guards each call. For arguments, which the caller holds anyway, that is not worth its cost.
fn unlimited(lua: &Lua) -> mlua::Result<()> {
    lua.set_memory_limit(0).map(drop)
}

struct Script {
    chunk: Function,
    /// The SHA-1 of its text in hexadecimal, as error texts have it.
    sha: String,
    /// False with the flag `no-writes`.
    writes: bool,
}

impl ScriptEngine {
    pub fn new() -> Result<Self> {
        Self::build().map_err(|error| Error::reply(format!("ERR {}", raise::message(&error))))
    }

    fn build() -> mlua::Result<Self> {
        let lua = Lua::new_with(
            StdLib::TABLE | StdLib::STRING | StdLib::MATH,
            LuaOptions::default(),
        )?;
        limits::watch(&lua)?;
        let native = lua.create_table()?;
        raise::install(&lua, &native)?;
        strings::install(&lua, &native)?;
        tables::install(&lua, &native)?;
        numbers::install(&lua, &native)?;
        let cjson = Cjson::new(&lua)?;
        native.set("cjson", &cjson.library)?;
        let run = lua
            .load(include_str!("sandbox.lua"))
            .set_name("=sandbox")
            .call(native)?;
        Ok(Self {
            lua,
            run,
            cjson,
            scripts: HashMap::default(),
            script_bytes: 0,
        })
    }

    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    #[cfg(test)]
    pub fn cached(&self) -> usize {
        self.scripts.len()
    }

    pub fn run(
        &mut self,
        db: &mut Database,
        script: &[u8],
        keys: Args,
        argv: Args,
        run: ScriptRun,
    ) -> Result<Reply<'static>> {
        let memory_limit = run.memory_limit;
        self.cjson.reset();
        self.lua.set_app_data(run);
        let lua = self.lua.clone();
        let run = self.run.clone();
        let script = self.compiled(script, memory_limit)?;
        let outcome = unlimited(&lua).and_then(|()| {
            lua.scope(|scope| {
                let call = scope.create_function_mut(|lua, words: MultiValue| {
                    call::call(db, lua, &words, script.writes)
                })?;
                let arguments = (&script.chunk, words(&lua, keys)?, words(&lua, argv)?, call);
                lua.set_memory_limit(memory_limit)?;
                run.call::<(bool, Value, Option<LuaString>)>(arguments)
            })
        });
        let (ok, value, position) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Err(script.failure(&format!("ERR {}", raise::message(&error)), None)),
        };
        let mut meter = Meter::new(&lua);
        if !ok {
            let text = value
                .as_string()
                .map(|text| reply::text(text, &mut meter))
                .transpose();
            let text = text.map_err(|error| raise::error(&error))?;
            return Err(script.failure(&text.unwrap_or_default(), position));
        }
        match reply::from_lua(value, &mut meter) {
            Ok(Reply::Error(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(error) => Err(raise::error(&error)),
        }
    }

    fn compiled(&mut self, text: &[u8], memory_limit: usize) -> Result<&Script> {
        const MOST: usize = 1000;
        const MOST_BYTES: usize = 4 << 20;
        if self.scripts.len() >= MOST || self.script_bytes >= MOST_BYTES {
            self.scripts.clear();
            self.script_bytes = 0;
        }
        match self.scripts.entry_ref(text) {
            EntryRef::Occupied(entry) => Ok(entry.into_mut()),
            EntryRef::Vacant(entry) => {
                let limited = self.lua.set_memory_limit(memory_limit);
                limited.map_err(|error| raise::error(&error))?;
                let script = Script::compile(&self.lua, text)?;
                self.script_bytes += text.len();
                Ok(entry.insert(script))
            }
        }
    }
}

impl Script {
    fn compile(lua: &Lua, text: &[u8]) -> Result<Self> {
        let Shebang { body, writes } = shebang::read(text)?;
        let chunk = lua
            .load(body)
            .set_name("@user_script")
            // No bytecode: Lua does not check it, and it may do anything.
            .set_mode(ChunkMode::Text)
            .into_function()
            .map_err(|error| {
                let message = raise::message(&error);
                Error::reply(format!("ERR Error compiling script (new function): {message}"))
            })?;
        let sha = numbers::hexadecimal(&Sha1::digest(text));
        Ok(Self { chunk, sha, writes })
    }

    fn failure(&self, text: &str, position: Option<LuaString>) -> Error {
        let (text, sha) = (raise::line(text), &self.sha);
        Error::reply(match position {
            Some(position) => format!("{text} script: {sha}, on {}.", position.to_string_lossy()),
            None => format!("{text} script: {sha}"),
        })
    }
}

struct LuaBytes<'a>(&'a [u8]);

impl IntoLua for LuaBytes<'_> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self.0).map(Value::String)
    }
}

fn words(lua: &Lua, words: Args) -> mlua::Result<Table> {
    lua.create_sequence_from(words.iter().map(|word| LuaBytes(word)))
}
