//! The limits of time and memory of a script.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mlua::{Error, HookTriggers, Lua, LuaString, Result, VmState};

/// The state of one run of a script, kept in the Lua state's app data.
pub struct ScriptRun {
    pub deadline: Instant,
    pub memory_limit: usize,
    /// The bytes that functions written in Rust hold. Lua may use the rest.
    held: usize,
    /// The state of `math.random`. Each run has another seed, so that no run learns of an earlier one.
    pub random: u64,
}

impl ScriptRun {
    pub fn new(time_limit: Duration, memory_limit: usize) -> Self {
        Self {
            deadline: Instant::now() + time_limit,
            memory_limit,
            held: 0,
            random: RandomState::default().hash_one(()) >> 16,
        }
    }
}

/// The most instructions between two checks. Few: in 80 instructions one byte can grow to the whole memory.
const BETWEEN_LOOKS: usize = 16;

/// Makes Lua check its memory and the clock as it runs.
pub fn watch(lua: &Lua) -> Result<()> {
    look_every(lua, BETWEEN_LOOKS)
}

fn look_every(lua: &Lua, instructions: usize) -> Result<()> {
    // To read the clock costs more than the rest of a check.
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
        // Once the time is over each instruction fails, so that a pcall cannot continue.
        let next = if checked.is_ok() { next } else { 1 };
        if next != instructions {
            look_every(lua, next)?;
        }
        checked.map(|()| VmState::Continue)
    })
}

/// One instruction, or function of Lua, may touch the whole memory: the more there is, the more often it is checked.
fn between_looks(used_memory: usize) -> usize {
    const TOUCHED: usize = 64 << 20;
    1 << (TOUCHED / used_memory.max(1)).clamp(1, BETWEEN_LOOKS).ilog2()
}

/// Fails once the time is over. Long functions call it themselves, as no hook can stop them.
pub fn check_deadline(lua: &Lua) -> Result<()> {
    match lua.app_data_ref::<ScriptRun>() {
        Some(run) if Instant::now() >= run.deadline => Err(Error::runtime("script timed out")),
        _ => Ok(()),
    }
}

/// Counts the time and memory of a function written in Rust, which Lua does not count.
pub struct Meter<'a> {
    lua: &'a Lua,
    /// The work since the last check of the clock, in steps of a few nanoseconds.
    work: usize,
    /// The part of `ScriptRun::held` that is returned when this is dropped.
    held: usize,
    /// The unused part of it.
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

    /// Counts bytes that are compared or copied.
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
        let Some(mut run) = self.lua.app_data_mut::<ScriptRun>() else {
            return Ok(());
        };
        let more = missing.max(AT_LEAST);
        let free = run.memory_limit.saturating_sub(self.lua.used_memory());
        if free.saturating_sub(run.held) <= more {
            return Err(Error::MemoryError("not enough memory".to_owned()));
        }
        run.held += more;
        self.held += more;
        self.room += more;
        self.lua.set_memory_limit(run.memory_limit - run.held).map(drop)
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
            && let Some(mut run) = self.lua.app_data_mut::<ScriptRun>()
        {
            run.held -= self.held;
            // On failure the lower limit stays.
            let _ = self.lua.set_memory_limit(run.memory_limit - run.held);
        }
    }
}

/// A text that a function writes, within the limit of memory.
pub struct LuaText<'a> {
    bytes: Vec<u8>,
    pub meter: Meter<'a>,
}

impl<'a> LuaText<'a> {
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

    /// Appends a piece, changed by `change`.
    pub fn push_changed(&mut self, piece: &[u8], change: fn(&mut [u8])) -> Result<()> {
        let start = self.bytes.len();
        self.push(piece)?;
        change(&mut self.bytes[start..]);
        Ok(())
    }

    fn grow(&mut self, length: usize) -> Result<()> {
        let old = self.bytes.capacity();
        let new = length.max(2 * old);
        // While the bytes are copied, both buffers exist.
        self.meter.allocate(new)?;
        self.bytes.reserve_exact(new - self.bytes.len());
        self.meter.room += old;
        Ok(())
    }

    pub fn into_lua(self) -> Result<LuaString> {
        self.meter.lua.create_string(&self.bytes)
    }
}
