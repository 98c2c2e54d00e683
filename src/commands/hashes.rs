//! <https://redis.io/docs/latest/commands/?group=hash>

use super::numbers::{double, fixed, integer};
use super::{Args, Command, Database, Effect, KeyWords, READS, WRITES, command};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::Hash;

pub const COMMANDS: &[Command] = &[
    command("HGET", 3, READS, KeyWords::First, hget),
    command("HSET", -4, WRITES, KeyWords::First, hset).effect(Effect::SetsFields),
    command("HMSET", -4, WRITES, KeyWords::First, hmset),
    command("HSETNX", 4, WRITES, KeyWords::First, hsetnx),
    command("HMGET", -3, READS, KeyWords::First, hmget),
    command("HGETALL", 2, READS, KeyWords::First, hgetall),
    command("HDEL", -3, WRITES, KeyWords::First, hdel).effect(Effect::RemovesFields),
    command("HEXISTS", 3, READS, KeyWords::First, hexists),
    command("HKEYS", 2, READS, KeyWords::First, hkeys),
    command("HVALS", 2, READS, KeyWords::First, hvals),
    command("HLEN", 2, READS, KeyWords::First, hlen),
    command("HSTRLEN", 3, READS, KeyWords::First, hstrlen),
    command("HINCRBY", 4, WRITES, KeyWords::First, hincrby),
    command("HINCRBYFLOAT", 4, WRITES, KeyWords::First, hincrbyfloat),
];

fn hget<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::optional(
        db.keyspace
            .read::<Hash>(args[0])?
            .and_then(|hash| hash.get(args[1])),
    ))
}

fn hset<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    if args.len().is_multiple_of(2) {
        let name = db.keyspace.command.to_ascii_lowercase();
        return Err(Error::reply(format!(
            "ERR wrong number of arguments for '{name}' command"
        )));
    }
    let hash = db.keyspace.entry::<Hash>(args[0])?;
    let pairs = args[1..].chunks_exact(2);
    Ok(Reply::count(
        pairs.filter(|pair| hash.insert(pair[0], pair[1])).count(),
    ))
}

fn hmset<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    hset(db, args)?;
    Ok(Reply::OK)
}

fn hsetnx<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let hash = db.keyspace.entry::<Hash>(args[0])?;
    let new = hash.get(args[1]).is_none();
    if new {
        hash.insert(args[1], args[2]);
    }
    Ok(new.into())
}

fn hmget<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let hash = db.keyspace.read::<Hash>(args[0])?;
    let value = |field: &&[u8]| Reply::optional(hash.and_then(|hash| hash.get(field)));
    Ok(Reply::Array(args[1..].iter().map(value).collect()))
}

fn hgetall<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let hash = db.keyspace.read::<Hash>(args[0])?;
    Ok(Reply::bulks(hash.into_iter().flat_map(Hash::items)))
}

fn hdel<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let removed = db.keyspace.edit(args[0], |hash: &mut Hash| {
        args[1..].iter().filter(|field| hash.remove(field)).count()
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn hexists<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(db
        .keyspace
        .read::<Hash>(args[0])?
        .is_some_and(|hash| hash.get(args[1]).is_some())
        .into())
}

fn hkeys<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let hash = db.keyspace.read::<Hash>(args[0])?;
    Ok(Reply::bulks(
        hash.into_iter().flat_map(Hash::iter).map(|(field, _)| field),
    ))
}

fn hvals<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let hash = db.keyspace.read::<Hash>(args[0])?;
    Ok(Reply::bulks(
        hash.into_iter().flat_map(Hash::iter).map(|(_, value)| value),
    ))
}

fn hlen<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        db.keyspace.read::<Hash>(args[0])?.map_or(0, |hash| hash.len()),
    ))
}

fn hstrlen<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let value = db
        .keyspace
        .read::<Hash>(args[0])?
        .and_then(|hash| hash.get(args[1]));
    Ok(Reply::count(value.map_or(0, |value| value.len())))
}

fn hincrby<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let by = integer(args[2])?;
    let current = match db
        .keyspace
        .read::<Hash>(args[0])?
        .and_then(|hash| hash.get(args[1]))
    {
        Some(text) => integer(text).map_err(|_| Error::reply("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = current
        .checked_add(by)
        .ok_or_else(|| Error::reply("ERR increment or decrement would overflow"))?;
    put(db, args, sum.to_string())?;
    Ok(Reply::Integer(sum))
}

fn hincrbyfloat<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let by = double(args[2])?;
    if !by.is_finite() {
        return Err(Error::reply("ERR value is NaN or Infinity"));
    }
    let current = match db
        .keyspace
        .read::<Hash>(args[0])?
        .and_then(|hash| hash.get(args[1]))
    {
        Some(text) => double(text).map_err(|_| Error::reply("ERR hash value is not a float"))?,
        None => 0.0,
    };
    let sum = current + by;
    if !sum.is_finite() {
        return Err(Error::reply("ERR increment would produce NaN or Infinity"));
    }
    let text = fixed(sum);
    put(db, args, text.clone())?;
    Ok(Reply::owned(text))
}

fn put(db: &mut Database, args: Args, value: String) -> Result<()> {
    let hash = db.keyspace.entry::<Hash>(args[0])?;
    hash.insert(args[1], value.as_bytes());
    Ok(())
}
