//! How long a script may run, and how much memory it may use.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mlua::{Error, HookTriggers, Lua, LuaString, Result, VmState};

/// What concerns one run of a script; kept in the Lua state's app data.
pub struct Turn {
    pub deadline: Instant,
    pub memory_limit: usize,
    /// In bytes: what functions written in Rust hold at the moment. Lua may use what they leave.
    held: usize,
    /// The state of `math.random`. Each run starts from another, so that none learns of an earlier one.
    pub random: u64,
}

impl Turn {
    pub fn new(time_limit: Duration, memory_limit: usize) -> Self {
        Self {
            deadline: Instant::now() + time_limit,
            memory_limit,
            held: 0,
            random: RandomState::default().hash_one(()) >> 16,
        }
    }
}

/// The most instructions between two looks. Few: in 80 a string of one byte can grow to all the memory there is.
const BETWEEN_LOOKS: usize = 16;

/// Makes Lua look at its memory and at the clock as it runs.
pub fn watch(lua: &Lua) -> Result<()> {
    look_every(lua, BETWEEN_LOOKS)
}

fn look_every(lua: &Lua, instructions: usize) -> Result<()> {
    // Reading the clock costs more than the rest of a look.
    const LOOKS_AT_MEMORY_ALONE: u32 = 16;
    let trigger = HookTriggers::new().every_nth_instruction(instructions as u32);
    let looks = AtomicU32::new(0);
    lua.set_global_hook(trigger, move |lua, _| {
        let next = between_looks(lua.used_memory());
        if instructions == BETWEEN_LOOKS && next == instructions {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            if !look.is_multiple_of(LOOKS_AT_MEMORY_ALONE) {
                return Ok(VmState::Continue);
            }
        }
        let checked = check_deadline(lua);
        // Once the time is over each instruction fails, so that no pcall gets anywhere with what it caught.
        let next = if checked.is_ok() { next } else { 1 };
        if next != instructions {
            look_every(lua, next)?;
        }
        checked.map(|()| VmState::Continue)
    })
}

/// A single instruction, or a function of Lua's own, may touch all the memory there is: the more, the closer are the looks.
fn between_looks(used_memory: usize) -> usize {
    const TOUCHED: usize = 64 << 20;
    1 << (TOUCHED / used_memory.max(1)).clamp(1, BETWEEN_LOOKS).ilog2()
}

/// Fails once the time is over. Functions that may take long, which no hook can stop, call it themselves.
pub fn check_deadline(lua: &Lua) -> Result<()> {
    match lua.app_data_ref::<Turn>() {
        Some(turn) if Instant::now() >= turn.deadline => Err(Error::runtime("script timed out")),
        _ => Ok(()),
    }
}

/// Counts what a function written in Rust does and builds, which Lua neither times nor counts itself.
pub struct Meter<'a> {
    lua: &'a Lua,
    /// Since the last look at the clock, in steps of a few nanoseconds.
    work: usize,
    /// Of `Turn::held`, until this is dropped.
    held: usize,
    /// What of it is not used yet.
    room: usize,
}

const BYTES_IN_A_STEP: usize = 64;

impl<'a> Meter<'a> {
    pub fn new(lua: &'a Lua) -> Self {
        Self {
            lua,
            work: 0,
            held: 0,
            room: 0,
        }
    }

    pub fn step(&mut self) -> Result<()> {
        self.work(1)
    }

    /// Bytes that are compared or copied.
    pub fn pass(&mut self, bytes: usize) -> Result<()> {
        self.work(bytes / BYTES_IN_A_STEP)
    }

    pub fn allocate(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.room {
            self.hold(bytes - self.room)?;
        }
        self.room -= bytes;
        self.work(1 + bytes / BYTES_IN_A_STEP)
    }

    fn hold(&mut self, missing: usize) -> Result<()> {
        const AT_LEAST: usize = 4096;
        let Some(mut turn) = self.lua.app_data_mut::<Turn>() else {
            return Ok(());
        };
        let more = missing.max(AT_LEAST);
        let free = turn.memory_limit.saturating_sub(self.lua.used_memory());
        if free.saturating_sub(turn.held) <= more {
            return Err(Error::MemoryError("not enough memory".to_owned()));
        }
        turn.held += more;
        self.held += more;
        self.room += more;
        self.lua.set_memory_limit(turn.memory_limit - turn.held).map(drop)
    }

    pub fn work(&mut self, steps: usize) -> Result<()> {
        const BETWEEN_LOOKS: usize = 4096;
        self.work += steps;
        if self.work < BETWEEN_LOOKS {
            return Ok(());
        }
        self.work = 0;
        check_deadline(self.lua)
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if self.held > 0
            && let Some(mut turn) = self.lua.app_data_mut::<Turn>()
        {
            turn.held -= self.held;
            // A limit that cannot be set leaves the lower one.
            let _ = self.lua.set_memory_limit(turn.memory_limit - turn.held);
        }
    }
}

/// A text that a function writes, as far as there is memory for it.
pub struct Text<'a> {
    bytes: Vec<u8>,
    pub meter: Meter<'a>,
}

impl<'a> Text<'a> {
    pub fn new(lua: &'a Lua) -> Self {
        Self {
            bytes: Vec::new(),
            meter: Meter::new(lua),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let length = self.bytes.len() + bytes.len();
        if length > self.bytes.capacity() {
            self.grow(length)?;
        }
        self.meter.work(1 + bytes.len() / BYTES_IN_A_STEP)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds a piece as it is after a change.
    pub fn push_changed(&mut self, piece: &[u8], change: fn(&mut [u8])) -> Result<()> {
        let start = self.bytes.len();
        self.push(piece)?;
        change(&mut self.bytes[start..]);
        Ok(())
    }

    fn grow(&mut self, length: usize) -> Result<()> {
        let old = self.bytes.capacity();
        let new = length.max(2 * old);
        // While the bytes move, both places hold them.
        self.meter.allocate(new)?;
        self.bytes.reserve_exact(new - self.bytes.len());
        self.meter.room += old;
        Ok(())
    }

    pub fn into_lua(self) -> Result<LuaString> {
        self.meter.lua.create_string(&self.bytes)
    }
}
