//! <https://redis.io/docs/latest/develop/programmability/eval-intro/>
//!
//! - [`machine`]: a Lua state with its compiled scripts; `sandbox.lua` is what a script sees of it.
//! - [`shebang`]: the flags of its first line.
//! - [`limits`]: how long a script may run, and how much memory it may use.
//! - [`call`], [`reply`]: Redis's conversions, into Lua and back.
//! - [`raise`], [`arguments`]: the errors of functions written in Rust, as Lua's and Redis's own.
//! - [`cjson`], [`strings`] over [`patterns`], [`tables`], [`numbers`] with [`decimal`]: the libraries that are not Lua's own.

mod arguments;
mod call;
mod cjson;
mod decimal;
mod limits;
mod machine;
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

use limits::Turn;
use machine::Machine;

use super::numbers::integer;
use super::{Args, Command, Database, Keys, Shape, WRITES, command};
use crate::error::{Error, Reason, Result};
use crate::reply::Reply;

pub const COMMANDS: &[Command] = &[command("EVAL", -3, WRITES, Keys::Counted, eval).shape(Shape::Script)];

fn eval<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (keys, argv) = split(args[1], &args[2..])?;
    // Away while it runs: a script cannot run another.
    let mut scripting = db.scripting.take().unwrap_or_default();
    let reply = stacker::maybe_grow(DEEPEST, DEEPEST, || scripting.run(db, args[0], keys, argv));
    db.scripting = Some(scripting);
    reply
}

/// In bytes: twice the stack that a script can use in 200 calls through C, which is Lua's limit. JavaScript may have left less, in a
/// worker thread above all: then the script runs on a stack of its own.
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

/// What a store keeps from script to script.
pub struct Scripting {
    time_limit: Duration,
    /// In bytes, for all that the Lua state holds.
    memory_limit: usize,
    /// Made by the next script where there is none.
    machine: Option<Machine>,
}

impl Default for Scripting {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(5),
            memory_limit: 256 << 20,
            machine: None,
        }
    }
}

impl Scripting {
    fn run(&mut self, db: &mut Database, script: &[u8], keys: Args, argv: Args) -> Result<Reply<'static>> {
        let machine = match &mut self.machine {
            Some(machine) => machine,
            none => none.insert(Machine::new()?),
        };
        let turn = Turn::new(self.time_limit, self.memory_limit);
        let deadline = turn.deadline;
        let reply = machine.run(db, script, keys, argv, turn);
        let late = Instant::now() >= deadline;
        // One that was stopped keeps failing; one that was filled is sooner thrown away than swept.
        if late || machine.used_memory() > self.memory_limit / 16 {
            self.machine = None;
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
