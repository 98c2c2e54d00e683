//! How long a script may run, and how much memory it may use.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use mlua::{Error, HookTriggers, Lua, LuaString, Result, VmState};

/// What concerns one run of a script; kept in the Lua state's app data.
pub struct Turn {
    pub deadline: Instant,
    pub memory_limit: usize,
    /// The state of `math.random`. Each run starts from another, so that none learns of an earlier one.
    pub random: u64,
}

impl Turn {
    pub fn new(time_limit: Duration, memory_limit: usize) -> Self {
        Self {
            deadline: Instant::now() + time_limit,
            memory_limit,
            random: RandomState::default().hash_one(()) >> 16,
        }
    }
}

/// Makes Lua look at the clock as it runs.
pub fn watch(lua: &Lua) -> Result<()> {
    // Few: a single instruction may copy all the memory there is.
    const BETWEEN_LOOKS: u32 = 200;
    const EVERY_LOOK: HookTriggers = HookTriggers::new().every_nth_instruction(BETWEEN_LOOKS);
    const EVERY_INSTRUCTION: HookTriggers = HookTriggers::new().every_nth_instruction(1);
    lua.set_global_hook(EVERY_LOOK, |lua, _| {
        let Err(timeout) = check_deadline(lua) else {
            return Ok(VmState::Continue);
        };
        // From now on each instruction fails, so that no pcall gets anywhere with what it caught.
        lua.set_global_hook(EVERY_INSTRUCTION, |lua, _| {
            check_deadline(lua).map(|()| VmState::Continue)
        })?;
        Err(timeout)
    })
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
    /// In bytes.
    room: usize,
}

impl<'a> Meter<'a> {
    pub fn new(lua: &'a Lua) -> Self {
        let limit = lua.app_data_ref::<Turn>().map_or(0, |turn| turn.memory_limit);
        Self {
            lua,
            work: 0,
            room: limit.saturating_sub(lua.used_memory()),
        }
    }

    pub fn step(&mut self) -> Result<()> {
        self.work(1)
    }

    pub fn allocate(&mut self, bytes: usize) -> Result<()> {
        const BYTES_IN_A_STEP: usize = 64;
        self.room = self
            .room
            .checked_sub(bytes)
            .ok_or_else(|| Error::MemoryError("not enough memory".to_owned()))?;
        self.work(1 + bytes / BYTES_IN_A_STEP)
    }

    fn work(&mut self, steps: usize) -> Result<()> {
        const BETWEEN_LOOKS: usize = 4096;
        self.work += steps;
        if self.work < BETWEEN_LOOKS {
            return Ok(());
        }
        self.work = 0;
        check_deadline(self.lua)
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
        self.meter.allocate(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub fn into_lua(self) -> Result<LuaString> {
        self.meter.lua.create_string(self.bytes)
    }
}
