//! <https://redis.io/docs/latest/develop/programmability/eval-intro/>
//!
//! - [`engine`]: a Lua state with its compiled scripts; `sandbox.lua` has the functions that a script sees.
//! - [`shebang`]: the flags of a script's first line.
//! - [`limits`]: how long a script may run, and how much memory it may use.
//! - [`call`], [`reply`]: Redis's conversions, into Lua and back.
//! - [`raise`], [`arguments`]: the errors of functions written in Rust, as Lua's and Redis's own.
//! - [`cjson`], [`strings`] over [`patterns`], [`tables`], [`numbers`] with [`decimal`]: libraries in place of Lua's own.

mod arguments;
mod call;
mod cjson;
mod decimal;
mod engine;
mod limits;
mod numbers;
mod patterns;
mod raise;
mod reply;
mod shebang;
mod strings;
mod tables;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use engine::ScriptEngine;
use limits::ScriptRun;

use super::numbers::integer;
use super::{Args, Command, CommandShape, Database, KeyWords, WRITES, command};
use crate::error::{Error, Reason, Result};
use crate::reply::Reply;

pub const COMMANDS: &[Command] =
    &[command("EVAL", -3, WRITES, KeyWords::Counted, eval).shape(CommandShape::Script)];

fn eval<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (keys, argv) = split(args[1], &args[2..])?;
    // Taken while a script runs: a script cannot run another.
    let mut scripting = db.scripting.take().unwrap_or_default();
    let reply = stacker::maybe_grow(DEEPEST, DEEPEST, || scripting.run(db, args[0], keys, argv));
    db.scripting = Some(scripting);
    reply
}

/// Twice the stack, in bytes, that a script can use in 200 calls through C, Lua's limit. Where JavaScript has left less, as in a
/// worker thread, the script runs on a stack of its own.
const DEEPEST: usize = if cfg!(debug_assertions) {
    4 << 20
} else {
    896 << 10
};

fn split<'a>(count: &[u8], words: Args<'a>) -> Result<(Args<'a>, Args<'a>)> {
    let count = integer(count)?;
    if count > words.len() as i64 {
        return Err(Error::reply(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let count = usize::try_from(count).map_err(|_| Error::reply("ERR Number of keys can't be negative"))?;
    Ok(words.split_at(count))
}

/// The state that a store keeps between scripts.
pub struct Scripting {
    time_limit: Duration,
    /// The most bytes of the Lua state.
    memory_limit: usize,
    /// Created by the next script if it is missing.
    engine: Option<ScriptEngine>,
}

impl Default for Scripting {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(5),
            memory_limit: 256 << 20,
            engine: None,
        }
    }
}

impl Scripting {
    fn run(&mut self, db: &mut Database, script: &[u8], keys: Args, argv: Args) -> Result<Reply<'static>> {
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none => none.insert(ScriptEngine::new()?),
        };
        let run = ScriptRun::new(self.time_limit, self.memory_limit);
        let deadline = run.deadline;
        let reply = engine.run(db, script, keys, argv, run);
        let late = Instant::now() >= deadline;
        // A state that has been stopped keeps failing. A full one is cheaper to drop than to sweep.
        if late || engine.used_memory() > self.memory_limit / 16 {
            self.engine = None;
        }
        if late { Err(self.timeout()) } else { reply }
    }

    fn timeout(&self) -> Error {
        let seconds = self.time_limit.as_secs_f64();
        Error::because(
            Reason::Script,
            format!("The script ran for longer than {seconds} s and was stopped. What it had written stays."),
        )
    }
}
