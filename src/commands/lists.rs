//! <https://redis.io/docs/latest/commands/?group=list>

use super::numbers::{count, integer, range};
use super::{Args, Command, Database, KeyWords, READS, WRITES, command};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::List;

pub const COMMANDS: &[Command] = &[
    command("LPUSH", -3, WRITES, KeyWords::First, |db, args| {
        push(db, args, List::push_front)
    }),
    command("RPUSH", -3, WRITES, KeyWords::First, |db, args| {
        push(db, args, List::push_back)
    }),
    command("LPOP", -2, WRITES, KeyWords::First, |db, args| {
        pop(db, args, List::pop_front)
    }),
    command("RPOP", -2, WRITES, KeyWords::First, |db, args| {
        pop(db, args, List::pop_back)
    }),
    command("LRANGE", 4, READS, KeyWords::First, lrange),
    command("LLEN", 2, READS, KeyWords::First, llen),
    command("LTRIM", 4, WRITES, KeyWords::First, ltrim),
    command("LINDEX", 3, READS, KeyWords::First, lindex),
    command("LSET", 4, WRITES, KeyWords::First, lset),
    command("LREM", 4, WRITES, KeyWords::First, lrem),
    command("RPOPLPUSH", 3, WRITES, KeyWords::FirstTwo, rpoplpush),
];

#[inline]
fn push<'a>(db: &'a mut Database, args: Args, push: fn(&mut List, &[u8])) -> Result<Reply<'a>> {
    let list = db.keyspace.entry::<List>(args[0])?;
    for &value in &args[1..] {
        push(list, value);
    }
    Ok(Reply::count(list.len()))
}

#[inline]
fn pop<'a>(db: &'a mut Database, args: Args, pop: fn(&mut List) -> Option<Vec<u8>>) -> Result<Reply<'a>> {
    let Some(&most) = args.get(1) else {
        let popped = db.keyspace.edit(args[0], pop)?.flatten();
        return Ok(popped.map_or(Reply::Nil, Reply::owned));
    };
    if args.len() > 2 {
        let name = db.keyspace.command.to_ascii_lowercase();
        return Err(Error::reply(format!(
            "ERR wrong number of arguments for '{name}' command"
        )));
    }
    let most = count(most)?;
    let popped = db.keyspace.edit(args[0], |list: &mut List| {
        (0..most.min(list.len()))
            .filter_map(|_| pop(list))
            .map(Reply::owned)
            .collect()
    })?;
    Ok(popped.map_or(Reply::Nil, Reply::Array))
}

fn lrange<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (start, stop) = (integer(args[1])?, integer(args[2])?);
    Ok(match db.keyspace.read::<List>(args[0])? {
        Some(list) => Reply::bulks(list.range(range(start, stop, list.len()))),
        None => Reply::Array(Vec::new()),
    })
}

fn llen<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(
        db.keyspace.read::<List>(args[0])?.map_or(0, |list| list.len()),
    ))
}

fn ltrim<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (start, stop) = (integer(args[1])?, integer(args[2])?);
    db.keyspace.edit(args[0], |list: &mut List| {
        list.keep(range(start, stop, list.len()));
    })?;
    Ok(Reply::OK)
}

fn lindex<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let Some(list) = db.keyspace.read::<List>(args[0])? else {
        return Ok(Reply::Nil);
    };
    let position = position(integer(args[1])?, list.len());
    Ok(Reply::optional(
        position.and_then(|position| list.range(position..list.len()).next()),
    ))
}

fn lset<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let set = db.keyspace.edit(args[0], |list: &mut List| {
        let position = position(integer(args[1])?, list.len());
        let slot = position.and_then(|position| list.deque().get_mut(position));
        *slot.ok_or_else(|| Error::reply("ERR index out of range"))? = args[2].into();
        Ok(Reply::OK)
    })?;
    set.unwrap_or_else(|| Err(Error::reply("ERR no such key")))
}

/// Removes the first `count` elements equal to a value: from the end if `count` is negative, all if it is 0.
fn lrem<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let count = integer(args[1])?;
    let most = if count == 0 {
        usize::MAX
    } else {
        count.unsigned_abs() as usize
    };
    let removed = db.keyspace.edit(args[0], |list: &mut List| {
        let list = list.deque();
        let equal = list.iter().filter(|value| ***value == *args[2]).count();
        let removed = equal.min(most);
        let skipped = if count < 0 { equal - removed } else { 0 };
        let mut met = 0;
        list.retain(|value| {
            let is_met = **value == *args[2];
            met += usize::from(is_met);
            !(is_met && met > skipped && met <= skipped + removed)
        });
        removed
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn rpoplpush<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    if args[0] == args[1] {
        // In place: a list of one element must not be removed in between, with its deadline.
        let moved = db.keyspace.edit(args[0], |list: &mut List| {
            let value = list.pop_back()?;
            list.push_front(&value);
            Some(value)
        })?;
        return Ok(moved.flatten().map_or(Reply::Nil, Reply::owned));
    }
    if db.keyspace.read::<List>(args[0])?.is_none() {
        return Ok(Reply::Nil);
    }
    db.keyspace.check::<List>(args[1])?;
    let Some(value) = db.keyspace.edit(args[0], List::pop_back)?.flatten() else {
        return Ok(Reply::Nil);
    };
    db.keyspace.entry::<List>(args[1])?.push_front(&value);
    Ok(Reply::owned(value))
}

/// The position of an index, which counts from the end if it is negative. None outside of the list.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(length as i64)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|position| *position < length)
}
