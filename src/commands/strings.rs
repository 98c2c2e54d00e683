//! <https://redis.io/docs/latest/commands/?group=string>

use super::keys::deadline_after;
use super::numbers::{double, fixed, integer, range};
use super::{Args, Command, Database, KeyWords, READS, Spread, WRITES, command};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::{Keyspace, Text, Value};

pub const COMMANDS: &[Command] = &[
    command("GET", 2, READS, KeyWords::First, get),
    command("SET", -3, WRITES, KeyWords::First, set),
    command("SETNX", 3, WRITES, KeyWords::First, setnx),
    command("SETEX", 4, WRITES, KeyWords::First, |db, args| {
        set_for(db, args, 1000, "setex")
    }),
    command("PSETEX", 4, WRITES, KeyWords::First, |db, args| {
        set_for(db, args, 1, "psetex")
    }),
    command("GETDEL", 2, WRITES, KeyWords::First, getdel),
    command("GETSET", 3, WRITES, KeyWords::First, getset),
    command("MGET", -2, READS, KeyWords::All, mget).spread(Spread::InOrder),
    command("MSET", -3, WRITES, KeyWords::Alternate, mset),
    command("APPEND", 3, WRITES, KeyWords::First, append),
    command("STRLEN", 2, READS, KeyWords::First, strlen),
    command("GETRANGE", 4, READS, KeyWords::First, getrange),
    command("INCR", 2, WRITES, KeyWords::First, |db, args| {
        increment(db, args[0], 1)
    }),
    command("DECR", 2, WRITES, KeyWords::First, |db, args| {
        increment(db, args[0], -1)
    }),
    command("INCRBY", 3, WRITES, KeyWords::First, |db, args| {
        increment(db, args[0], integer(args[1])?)
    }),
    command("DECRBY", 3, WRITES, KeyWords::First, decrby),
    command("INCRBYFLOAT", 3, WRITES, KeyWords::First, incrbyfloat),
];

fn get<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::optional(db.keyspace.read::<Text>(args[0])?))
}

fn getdel<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let Some(value) = db.keyspace.edit::<Text, _>(args[0], std::mem::take)? else {
        return Ok(Reply::Nil);
    };
    db.keyspace.remove(args[0]);
    Ok(Reply::owned(value))
}

fn getset<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let old = previous(&mut db.keyspace, args[0])?;
    db.keyspace.set(args[0], Value::String(args[1].into()), None);
    Ok(old)
}

#[derive(Default)]
struct SetOptions {
    /// Milliseconds since the epoch.
    deadline: Option<u64>,
    keep_deadline: bool,
    only_new: bool,
    only_existing: bool,
    reply_old: bool,
}

fn set<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let keyspace = &mut db.keyspace;
    if args.len() == 2 {
        keyspace.set_string(args[0], args[1], None);
        return Ok(Reply::OK);
    }
    let options = set_options(keyspace, &args[2..])?;
    let old = if options.reply_old {
        previous(keyspace, args[0])?
    } else {
        Reply::Nil
    };
    let exists = keyspace.contains(args[0]);
    if (options.only_new && exists) || (options.only_existing && !exists) {
        return Ok(old);
    }
    let kept = if options.keep_deadline {
        keyspace.deadline(args[0]).flatten()
    } else {
        None
    };
    let deadline = options.deadline.or(kept);
    keyspace.set_string(args[0], args[1], deadline);
    if deadline.is_some_and(|deadline| deadline <= keyspace.now()) {
        keyspace.remove(args[0]);
    }
    Ok(if options.reply_old { old } else { Reply::OK })
}

fn set_options(keyspace: &mut Keyspace, words: Args) -> Result<SetOptions> {
    let mut options = SetOptions::default();
    let mut expiry: Option<(&[u8], u64, bool)> = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let kind = match word.to_ascii_uppercase().as_slice() {
            b"NX" if !options.only_existing => {
                options.only_new = true;
                continue;
            }
            b"XX" if !options.only_new => {
                options.only_existing = true;
                continue;
            }
            b"GET" => {
                options.reply_old = true;
                continue;
            }
            b"KEEPTTL" if expiry.is_none() => {
                options.keep_deadline = true;
                continue;
            }
            b"EX" => (1000, true),
            b"PX" => (1, true),
            b"EXAT" => (1000, false),
            b"PXAT" => (1, false),
            _ => return Err(Error::syntax()),
        };
        // Redis allows an option twice: the last one counts.
        let may_follow = expiry.is_none_or(|(_, unit, relative)| (unit, relative) == kind);
        let number = words
            .next()
            .filter(|_| may_follow && !options.keep_deadline)
            .ok_or_else(Error::syntax)?;
        expiry = Some((number, kind.0, kind.1));
    }
    if let Some((number, unit, relative)) = expiry {
        options.deadline = Some(set_deadline(keyspace, number, unit, relative, "set")?);
    }
    Ok(options)
}

/// Unlike EXPIRE, a command that sets a value with its expiry refuses an expiry that is not positive.
#[inline]
fn set_deadline(
    keyspace: &mut Keyspace,
    number: &[u8],
    unit: u64,
    relative: bool,
    name: &str,
) -> Result<u64> {
    let number = integer(number)?;
    let since = if relative { keyspace.now() } else { 0 };
    let deadline = if number > 0 {
        deadline_after(since, number, unit)
    } else {
        None
    };
    let deadline =
        deadline.ok_or_else(|| Error::reply(format!("ERR invalid expire time in '{name}' command")))?;
    Ok(deadline.max(0) as u64)
}

#[inline]
fn set_for<'a>(db: &'a mut Database, args: Args, unit: u64, name: &str) -> Result<Reply<'a>> {
    let deadline = set_deadline(&mut db.keyspace, args[1], unit, true, name)?;
    db.keyspace.set_string(args[0], args[2], Some(deadline));
    Ok(Reply::OK)
}

fn setnx<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let new = !db.keyspace.contains(args[0]);
    if new {
        db.keyspace.set(args[0], Value::String(args[1].into()), None);
    }
    Ok(new.into())
}

fn mget<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let values = db.keyspace.values(args).into_iter();
    // As in Redis, a key of another type reads as missing, under either policy.
    let text = |value: Option<&'a Value>| match value {
        Some(Value::String(text)) => Reply::bulk(text),
        _ => Reply::Nil,
    };
    Ok(Reply::Array(values.map(text).collect()))
}

fn mset<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::reply("ERR wrong number of arguments for 'mset' command"));
    }
    for pair in args.chunks_exact(2) {
        db.keyspace.set(pair[0], Value::String(pair[1].into()), None);
    }
    Ok(Reply::OK)
}

/// V8's longest string: 24 bytes less than Redis's 512 MB.
const MAX_LENGTH: usize = (1 << 29) - 24;

fn append<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let length = db
        .keyspace
        .read::<Text>(args[0])?
        .map_or(0, |string| string.len());
    if length + args[1].len() > MAX_LENGTH {
        return Err(Error::reply(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    let string = db.keyspace.entry::<Text>(args[0])?;
    string.append(args[1]);
    Ok(Reply::count(string.len()))
}

fn strlen<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        db.keyspace
            .read::<Text>(args[0])?
            .map_or(0, |string| string.len()),
    ))
}

fn getrange<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (start, stop) = (integer(args[1])?, integer(args[2])?);
    let text = db
        .keyspace
        .read::<Text>(args[0])?
        .map_or(&[][..], |string| string);
    if start < 0 && stop < 0 && start > stop {
        return Ok(Reply::bulk(&[]));
    }
    // Unlike in LRANGE, an end before the first byte is the first byte.
    let stop = if stop < 0 {
        stop.saturating_add(text.len() as i64).max(0)
    } else {
        stop
    };
    Ok(Reply::bulk(&text[range(start, stop, text.len())]))
}

fn increment<'a>(db: &'a mut Database, key: &[u8], by: i64) -> Result<Reply<'a>> {
    let current = db
        .keyspace
        .read::<Text>(key)?
        .map_or(Ok(0), |text| integer(text))?;
    let sum = current
        .checked_add(by)
        .ok_or_else(|| Error::reply("ERR increment or decrement would overflow"))?;
    db.keyspace.overwrite(key, decimal(sum, &mut [0; 20]))?;
    Ok(Reply::Integer(sum))
}

/// The decimal text of a number, without an allocation.
fn decimal(number: i64, buffer: &mut [u8; 20]) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut buffer[..];
    // i64::MIN, the longest, has 20 bytes.
    let _ = write!(rest, "{number}");
    let unused = rest.len();
    &buffer[..20 - unused]
}

fn decrby<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let by = integer(args[1])?
        .checked_neg()
        .ok_or_else(|| Error::reply("ERR decrement would overflow"))?;
    increment(db, args[0], by)
}

fn incrbyfloat<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let current = db
        .keyspace
        .read::<Text>(args[0])?
        .map_or(Ok(0.0), |text| double(text))?;
    let sum = current + double(args[1])?;
    if !sum.is_finite() {
        return Err(Error::reply("ERR increment would produce NaN or Infinity"));
    }
    let text = fixed(sum);
    db.keyspace.overwrite(args[0], text.as_bytes())?;
    Ok(Reply::owned(text))
}

fn previous(keyspace: &mut Keyspace, key: &[u8]) -> Result<Reply<'static>> {
    Ok(keyspace
        .read::<Text>(key)?
        .map_or(Reply::Nil, |text| Reply::owned(&**text)))
}
