//! `bit`, `math.random`, `redis.sha1hex` and `unpack`.
//!
//! <https://bitop.luajit.org/api.html>

use std::fmt::Write;

use mlua::{Lua, MultiValue, Result, Table, Value};
use sha1::{Digest, Sha1};

use super::arguments::{LuaArguments, function};
use super::limits::{Meter, ScriptRun};
use super::raise;

pub fn install(lua: &Lua, native: &Table) -> Result<()> {
    native.set("bit", bit(lua)?)?;
    native.set("random", function(lua, random)?)?;
    native.set("randomseed", function(lua, randomseed)?)?;
    native.set("sha1hex", function(lua, sha1hex)?)?;
    native.set("unpack", function(lua, unpack)?)
}

type Unary = fn(i32) -> i32;
type Binary = fn(i32, i32) -> i32;
type Shift = fn(i32, u32) -> i32;

fn bit(lua: &Lua) -> Result<Table> {
    let bit = lua.create_table()?;
    let unary: [(&str, Unary); 3] = [("tobit", |x| x), ("bnot", |x| !x), ("bswap", i32::swap_bytes)];
    for (name, operation) in unary {
        bit.set(name, function(lua, move |_, args| Ok(operation(bits(args, 1)?)))?)?;
    }
    let folded: [(&str, Binary); 3] = [
        ("band", |x, y| x & y),
        ("bor", |x, y| x | y),
        ("bxor", |x, y| x ^ y),
    ];
    for (name, operation) in folded {
        bit.set(
            name,
            function(lua, move |_, args| {
                (2..=args.count()).try_fold(bits(args, 1)?, |all, index| {
                    Ok(operation(all, bits(args, index)?))
                })
            })?,
        )?;
    }
    // A shift count has five bits.
    let shifts: [(&str, Shift); 5] = [
        ("lshift", i32::wrapping_shl),
        ("rshift", |x, n| (x as u32).wrapping_shr(n) as i32),
        ("arshift", i32::wrapping_shr),
        ("rol", |x, n| x.rotate_left(n & 31)),
        ("ror", |x, n| x.rotate_right(n & 31)),
    ];
    for (name, operation) in shifts {
        bit.set(
            name,
            function(lua, move |_, args| {
                Ok(operation(bits(args, 1)?, bits(args, 2)? as u32))
            })?,
        )?;
    }
    bit.set("tohex", function(lua, tohex)?)?;
    Ok(bit)
}

fn bits(args: &LuaArguments, index: usize) -> Result<i32> {
    // 2^52 + 2^51: in the sum, the lowest bits of the double are the nearest integer.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    Ok((args.number(index)? + MAGIC).to_bits() as i32)
}

/// The second argument is the number of digits; if it is negative, they are capitals.
fn tohex(_: &Lua, args: &LuaArguments) -> Result<String> {
    let number = bits(args, 1)?;
    let digits = if args.count() < 2 { 8 } else { bits(args, 2)? };
    let text = if digits < 0 {
        format!("{number:08X}")
    } else {
        format!("{number:08x}")
    };
    let digits = digits.unsigned_abs().min(8) as usize;
    Ok(text[8 - digits..].to_owned())
}

/// Redis's `srand48`.
fn randomseed(lua: &Lua, args: &LuaArguments) -> Result<()> {
    let state = u64::from(args.integer(1)? as u32) << 16 | 0x330E;
    if let Some(mut run) = lua.app_data_mut::<ScriptRun>() {
        run.random = state;
    }
    Ok(())
}

/// Redis's `lrand48`: the numbers are equal on each machine.
fn random(lua: &Lua, args: &LuaArguments) -> Result<f64> {
    const HIGHEST: u64 = i32::MAX as u64;
    let mut state = 0;
    if let Some(mut run) = lua.app_data_mut::<ScriptRun>() {
        run.random = run.random.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & ((1 << 48) - 1);
        state = run.random;
    }
    let fraction = ((state >> 17) % HIGHEST) as f64 / HIGHEST as f64;
    let (lowest, highest) = match args.count() {
        0 => return Ok(fraction),
        1 => (1.0, args.integer(1)? as f64),
        2 => (args.integer(1)? as f64, args.integer(2)? as f64),
        _ => return Err(raise::text(lua, "wrong number of arguments")),
    };
    if lowest > highest {
        return Err(args.refuse(args.count(), "interval is empty"));
    }
    Ok((fraction * (highest - lowest + 1.0)).floor() + lowest)
}

fn sha1hex(lua: &Lua, args: &LuaArguments) -> Result<String> {
    const PIECE: usize = 64 << 10;
    if args.count() != 1 {
        return Err(raise::refuse("ERR wrong number of arguments"));
    }
    let mut sha = Sha1::new();
    // Anything else reads as empty text.
    if let Ok(text) = args.string(1) {
        let mut meter = Meter::new(lua);
        for piece in text.as_bytes().chunks(PIECE) {
            sha.update(piece);
            meter.work(piece.len())?;
        }
    }
    Ok(hexadecimal(&sha.finalize()))
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lua's own function counts in a C `int`: with bounds that overflow it writes beyond its stack.
fn unpack(lua: &Lua, args: &LuaArguments) -> Result<MultiValue> {
    const MOST: i64 = 7900;
    let table = args.table(1)?;
    let first = args.optional_integer(2, 1)?;
    let last = args.optional_integer(3, table.raw_len() as i64)?;
    if last.saturating_sub(first) >= MOST {
        return Err(raise::text(lua, "too many results to unpack"));
    }
    (first..=last)
        .map(|index| table.raw_get::<Value>(index))
        .collect()
}
