//! <https://redis.io/docs/latest/commands/?group=set>

use super::{Args, Command, Database, KeyWords, READS, WRITES, command};
use crate::error::Result;
use crate::reply::Reply;
use crate::store::Set;

pub const COMMANDS: &[Command] = &[
    command("SADD", -3, WRITES, KeyWords::First, sadd),
    command("SREM", -3, WRITES, KeyWords::First, srem),
    command("SMEMBERS", 2, READS, KeyWords::First, smembers),
    command("SISMEMBER", 3, READS, KeyWords::First, sismember),
    command("SMISMEMBER", -3, READS, KeyWords::First, smismember),
    command("SCARD", 2, READS, KeyWords::First, scard),
];

fn sadd<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let set = db.keyspace.entry::<Set>(args[0])?;
    Ok(Reply::count(
        args[1..].iter().filter(|member| set.insert(member)).count(),
    ))
}

fn srem<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let removed = db.keyspace.edit(args[0], |set: &mut Set| {
        args[1..].iter().filter(|member| set.remove(member)).count()
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn smembers<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::bulks(
        db.keyspace.read::<Set>(args[0])?.into_iter().flat_map(Set::iter),
    ))
}

fn sismember<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(db
        .keyspace
        .read::<Set>(args[0])?
        .is_some_and(|set| set.contains(args[1]))
        .into())
}

fn smismember<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let set = db.keyspace.read::<Set>(args[0])?;
    let contains = |member: &&[u8]| set.is_some_and(|set| set.contains(member)).into();
    Ok(Reply::Array(args[1..].iter().map(contains).collect()))
}

fn scard<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        db.keyspace.read::<Set>(args[0])?.map_or(0, |set| set.len()),
    ))
}
