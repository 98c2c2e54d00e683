//! <https://redis.io/docs/latest/commands/?group=generic>

use super::numbers::{integer, is};
use super::{Args, Command, Database, Effect, KeyWords, READS, Spread, WRITES, command};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::glob;

pub const COMMANDS: &[Command] = &[
    command("DEL", -2, WRITES, KeyWords::All, del)
        .effect(Effect::RemovesKeys)
        .spread(Spread::Sum),
    command("UNLINK", -2, WRITES, KeyWords::All, del).spread(Spread::Sum),
    command("EXISTS", -2, READS, KeyWords::All, exists).spread(Spread::Sum),
    command("TYPE", 2, READS, KeyWords::First, type_),
    command("EXPIRE", -3, WRITES, KeyWords::First, |db, args| {
        expire(db, args, 1000, true)
    })
    .effect(Effect::KeepsFields),
    command("PEXPIRE", -3, WRITES, KeyWords::First, |db, args| {
        expire(db, args, 1, true)
    }),
    command("EXPIREAT", -3, WRITES, KeyWords::First, |db, args| {
        expire(db, args, 1000, false)
    }),
    command("PEXPIREAT", -3, WRITES, KeyWords::First, |db, args| {
        expire(db, args, 1, false)
    }),
    command("PERSIST", 2, WRITES, KeyWords::First, persist),
    command("TTL", 2, READS, KeyWords::First, |db, args| ttl(db, args, 1000)),
    command("PTTL", 2, READS, KeyWords::First, |db, args| ttl(db, args, 1)),
    command("KEYS", 2, READS, KeyWords::None, keys).spread(Spread::Keys),
    command("SCAN", -2, READS, KeyWords::None, scan).spread(Spread::Scan),
    command("RENAME", 3, WRITES, KeyWords::FirstTwo, rename),
    command("DBSIZE", 1, READS, KeyWords::None, |db, _| {
        Ok(Reply::count(db.keyspace.size()))
    }),
    command("PING", -1, READS, KeyWords::None, ping),
    command("ECHO", 2, READS, KeyWords::None, |_, args| {
        Ok(Reply::owned(args[0]))
    }),
    command("TIME", 1, READS, KeyWords::None, time),
];

fn del<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        args.iter().filter(|key| db.keyspace.remove(key)).count(),
    ))
}

fn exists<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        args.iter().filter(|key| db.keyspace.contains(key)).count(),
    ))
}

fn type_<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let name = db
        .keyspace
        .value(args[0])
        .map_or("none", |value| value.type_name());
    Ok(Reply::Status(name.into()))
}

/// `number` units after `since`, in milliseconds since the epoch; it may be negative. `None` if it overflows.
pub fn deadline_after(since: u64, number: i64, unit: u64) -> Option<i64> {
    number.checked_mul(unit as i64)?.checked_add(since as i64)
}

fn expire<'a>(db: &'a mut Database, args: Args, unit: u64, relative: bool) -> Result<Reply<'a>> {
    let command = db.keyspace.command;
    let condition = Condition::parse(&args[2..])?;
    let number = integer(args[1])?;
    let since = if relative { db.keyspace.now() } else { 0 };
    let deadline = deadline_after(since, number, unit).ok_or_else(|| {
        let name = command.to_ascii_lowercase();
        Error::reply(format!("ERR invalid expire time in '{name}' command"))
    })?;
    let deadline = deadline.max(0) as u64;
    let Some(current) = db.keyspace.deadline(args[0]) else {
        return Ok(false.into());
    };
    Ok((condition.allows(current, deadline) && db.keyspace.set_deadline(args[0], Some(deadline))).into())
}

/// The options NX, XX, GT and LT of EXPIRE.
#[derive(Default)]
struct Condition {
    none: bool,
    some: bool,
    greater: bool,
    less: bool,
}

impl Condition {
    fn parse(words: Args) -> Result<Self> {
        let mut condition = Self::default();
        for word in words {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => condition.none = true,
                b"XX" => condition.some = true,
                b"GT" => condition.greater = true,
                b"LT" => condition.less = true,
                _ => {
                    let option = String::from_utf8_lossy(word);
                    return Err(Error::reply(format!("ERR Unsupported option {option}")));
                }
            }
        }
        if condition.none && (condition.some || condition.greater || condition.less) {
            return Err(Error::reply(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if condition.greater && condition.less {
            return Err(Error::reply(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(condition)
    }

    fn allows(&self, current: Option<u64>, new: u64) -> bool {
        // A key without a deadline counts as the one that expires last.
        let current_or_never = current.unwrap_or(u64::MAX);
        !(self.none && current.is_some()
            || self.some && current.is_none()
            || self.greater && new <= current_or_never
            || self.less && new >= current_or_never)
    }
}

fn persist<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let expires = db.keyspace.deadline(args[0]).flatten().is_some();
    Ok((expires && db.keyspace.set_deadline(args[0], None)).into())
}

fn ttl<'a>(db: &'a mut Database, args: Args, unit: u64) -> Result<Reply<'a>> {
    Ok(Reply::Integer(match db.keyspace.deadline(args[0]) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => ((deadline - db.keyspace.now() + unit / 2) / unit) as i64,
    }))
}

fn keys<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let all = args[0] == b"*";
    let found = db.keyspace.keys(|key| all || glob::matches(args[0], key));
    Ok(Reply::bulks(found.into_iter()))
}

fn scan<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let cursor = cursor(args[0]).ok_or_else(|| Error::reply("ERR invalid cursor"))?;
    let (mut count, mut pattern, mut kind) = (10, &b"*"[..], None);
    for option in args[1..].chunks(2) {
        match option {
            [word, number] if is(word, "COUNT") => {
                count = integer(number)?;
                if count < 1 {
                    return Err(Error::syntax());
                }
            }
            [word, glob] if is(word, "MATCH") => pattern = glob,
            [word, name] if is(word, "TYPE") => kind = Some(*name),
            _ => return Err(Error::syntax()),
        }
    }
    let (next, page) = db.keyspace.scan(cursor, count as u64);
    let wanted = page.into_iter().filter(|(key, value)| {
        (pattern == b"*" || glob::matches(pattern, key))
            && kind.is_none_or(|kind| is(kind, value.type_name()))
    });
    let keys = Reply::bulks(wanted.map(|(key, _)| key));
    Ok(Reply::Array(vec![Reply::owned(next.to_string()), keys]))
}

/// A cursor, as C's `strtoul` reads it: a NUL ends it, empty text is 0, and a negative number wraps around.
fn cursor(word: &[u8]) -> Option<u64> {
    let word = word.split(|&byte| byte == 0).next()?;
    let (negative, digits) = match word {
        [] => return Some(0),
        [sign @ (b'-' | b'+'), digits @ ..] => (*sign == b'-', digits),
        digits => (false, digits),
    };
    // Rust's `parse` would take a second sign.
    digits.first().filter(|first| first.is_ascii_digit())?;
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

fn rename<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let deadline = db
        .keyspace
        .deadline(args[0])
        .ok_or_else(|| Error::reply("ERR no such key"))?;
    // To its own name: moved within the store, a SCAN under way could miss it.
    if args[0] != args[1]
        && let Some(value) = db.keyspace.take(args[0])
    {
        db.keyspace.set(args[1], value, deadline);
    }
    Ok(Reply::OK)
}

fn ping<'a>(_: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    match args {
        [] => Ok(Reply::Status("PONG".into())),
        [message] => Ok(Reply::owned(*message)),
        _ => Err(Error::reply("ERR wrong number of arguments for 'ping' command")),
    }
}

fn time<'a>(db: &'a mut Database, _: Args) -> Result<Reply<'a>> {
    const MILLION: u64 = 1_000_000;
    let now = db.keyspace.precise_now();
    let words = [now / MILLION, now % MILLION].map(|number| Reply::owned(number.to_string()));
    Ok(Reply::Array(words.into()))
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_by_strtoul() {
        // A cursor of digits alone is refused where Redis starts from an empty one too.
        for (word, value) in [
            ("0", 0),
            ("", 0),
            ("\0x", 0),
            ("+12", 12),
            ("007", 7),
            ("-1", u64::MAX),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(cursor(word.as_bytes()), Some(value), "{word:?}");
        }
        for word in ["-", "+-1", "--1", " 1", "1 ", "1x", "x", "18446744073709551616"] {
            assert_eq!(cursor(word.as_bytes()), None, "{word:?}");
        }
    }
}
