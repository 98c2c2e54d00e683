//! <https://redis.io/docs/latest/commands/?group=sorted-set>

mod add;
mod range;

use super::numbers::count;
use super::{Args, Command, CommandShape, Database, KeyWords, READS, WRITES, command};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::SortedSet;

pub const COMMANDS: &[Command] = &[
    command("ZADD", -4, WRITES, KeyWords::First, add::zadd),
    command("ZINCRBY", 4, WRITES, KeyWords::First, add::zincrby),
    command("ZREM", -3, WRITES, KeyWords::First, zrem),
    command("ZSCORE", 3, READS, KeyWords::First, zscore),
    command("ZMSCORE", -3, READS, KeyWords::First, zmscore),
    command("ZCARD", 2, READS, KeyWords::First, zcard),
    command("ZCOUNT", 4, READS, KeyWords::First, range::zcount),
    command("ZRANK", 3, READS, KeyWords::First, |db, args| {
        rank(db, args, false)
    }),
    command("ZREVRANK", 3, READS, KeyWords::First, |db, args| {
        rank(db, args, true)
    }),
    command("ZRANGE", -4, READS, KeyWords::First, range::zrange).shape(CommandShape::Scores),
    command("ZREVRANGE", -4, READS, KeyWords::First, range::zrevrange).shape(CommandShape::Scores),
    command("ZRANGEBYSCORE", -4, READS, KeyWords::First, range::zrangebyscore).shape(CommandShape::Scores),
    command(
        "ZREVRANGEBYSCORE",
        -4,
        READS,
        KeyWords::First,
        range::zrevrangebyscore,
    )
    .shape(CommandShape::Scores),
    command(
        "ZREMRANGEBYSCORE",
        4,
        WRITES,
        KeyWords::First,
        range::zremrangebyscore,
    ),
    command(
        "ZREMRANGEBYRANK",
        4,
        WRITES,
        KeyWords::First,
        range::zremrangebyrank,
    ),
    command("ZPOPMIN", -2, WRITES, KeyWords::First, |db, args| {
        pop(db, args, false)
    }),
    command("ZPOPMAX", -2, WRITES, KeyWords::First, |db, args| {
        pop(db, args, true)
    }),
];

fn zrem<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let removed = db.keyspace.edit(args[0], |set: &mut SortedSet| {
        args[1..]
            .iter()
            .filter(|member| set.remove(member).is_some())
            .count()
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn zscore<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let score = db
        .keyspace
        .read::<SortedSet>(args[0])?
        .and_then(|set| set.score(args[1]));
    Ok(score.map_or(Reply::Nil, Reply::Double))
}

fn zmscore<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let set = db.keyspace.read::<SortedSet>(args[0])?;
    let score = |member: &&[u8]| {
        set.and_then(|set| set.score(member))
            .map_or(Reply::Nil, Reply::Double)
    };
    Ok(Reply::Array(args[1..].iter().map(score).collect()))
}

fn zcard<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        db.keyspace.read::<SortedSet>(args[0])?.map_or(0, |set| set.len()),
    ))
}

fn rank<'a>(db: &'a mut Database, args: Args, reverse: bool) -> Result<Reply<'a>> {
    let set = db.keyspace.read::<SortedSet>(args[0])?;
    let rank = set.and_then(|set| Some((set.rank(args[1])?, set.len())));
    Ok(rank.map_or(Reply::Nil, |(rank, length)| {
        Reply::count(if reverse { length - 1 - rank } else { rank })
    }))
}

fn pop<'a>(db: &'a mut Database, args: Args, highest: bool) -> Result<Reply<'a>> {
    let most = match args {
        [_] => 1,
        [_, most] => count(most)?,
        _ => return Err(Error::syntax()),
    };
    let popped = db.keyspace.edit(args[0], |set: &mut SortedSet| {
        let count = most.min(set.len());
        let ranks = if highest {
            set.len() - count..set.len()
        } else {
            0..count
        };
        let mut items: Vec<_> = set
            .range(ranks.clone())
            .map(|(member, score)| (member.to_vec(), score))
            .collect();
        set.remove_range(ranks);
        if highest {
            items.reverse();
        }
        items
    })?;
    let items = popped.unwrap_or_default().into_iter();
    Ok(Reply::Array(
        items
            .flat_map(|(member, score)| [Reply::owned(member), Reply::Score(score)])
            .collect(),
    ))
}
