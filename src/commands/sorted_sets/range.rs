//! The commands that name members by rank or by a range of scores.

use std::ops::Range;

use crate::commands::numbers::{integer, is, parse_bound, range};
use crate::commands::{Args, Database};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::{Bound, SortedSet};

/// The options after the two ends of a range.
#[derive(Default)]
struct RangeOptions {
    with_scores: bool,
    reverse: bool,
    by_score: bool,
    limit: Option<(i64, i64)>,
}

impl RangeOptions {
    /// Adds the options in `words`. `name_says`: the command's name fixes BYSCORE, BYLEX and REV, so these are refused.
    fn parse(mut self, words: Args, name_says: bool) -> Result<Self> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if is(word, "WITHSCORES") {
                self.with_scores = true;
            } else if is(word, "REV") && !name_says && !self.reverse {
                self.reverse = true;
            } else if is(word, "BYSCORE") && !name_says && !self.by_score {
                self.by_score = true;
            } else if is(word, "LIMIT") {
                let (Some(offset), Some(count)) = (words.next(), words.next()) else {
                    return Err(Error::syntax());
                };
                self.limit = Some((integer(offset)?, integer(count)?));
            } else {
                return Err(Error::syntax());
            }
        }
        Ok(self)
    }
}

pub fn zrange<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    select(db, args, RangeOptions::default().parse(&args[3..], false)?)
}

pub fn zrevrange<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let options = RangeOptions {
        reverse: true,
        ..RangeOptions::default()
    };
    select(db, args, options.parse(&args[3..], true)?)
}

pub fn zrangebyscore<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let options = RangeOptions {
        by_score: true,
        ..RangeOptions::default()
    };
    select(db, args, options.parse(&args[3..], true)?)
}

pub fn zrevrangebyscore<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let options = RangeOptions {
        by_score: true,
        reverse: true,
        ..RangeOptions::default()
    };
    select(db, args, options.parse(&args[3..], true)?)
}

pub fn zcount<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (min, max) = bounds(args[1], args[2])?;
    let set = db.keyspace.read::<SortedSet>(args[0])?;
    Ok(Reply::count(set.map_or(0, |set| set.ranks(min, max).len())))
}

pub fn zremrangebyscore<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (min, max) = bounds(args[1], args[2])?;
    let removed = db.keyspace.edit(args[0], |set: &mut SortedSet| {
        set.remove_range(set.ranks(min, max))
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

pub fn zremrangebyrank<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    let (start, stop) = (integer(args[1])?, integer(args[2])?);
    let removed = db.keyspace.edit(args[0], |set: &mut SortedSet| {
        set.remove_range(range(start, stop, set.len()))
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn select<'a>(db: &'a mut Database, args: Args, options: RangeOptions) -> Result<Reply<'a>> {
    if options.by_score {
        return by_score(db, args, &options);
    }
    // Redis detects a LIMIT by its count, whose default is -1.
    if options.limit.is_some_and(|(_, count)| count != -1) {
        return Err(Error::reply(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    by_rank(db, args, &options)
}

fn by_rank<'a>(db: &'a mut Database, args: Args, options: &RangeOptions) -> Result<Reply<'a>> {
    let (start, stop) = (integer(args[1])?, integer(args[2])?);
    let Some(set) = db.keyspace.read::<SortedSet>(args[0])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let ranks = range(start, stop, set.len());
    let ranks = if options.reverse {
        set.len() - ranks.end..set.len() - ranks.start
    } else {
        ranks
    };
    Ok(members(set, ranks, options))
}

fn by_score<'a>(db: &'a mut Database, args: Args, options: &RangeOptions) -> Result<Reply<'a>> {
    let (min, max) = if options.reverse {
        (args[2], args[1])
    } else {
        (args[1], args[2])
    };
    let (min, max) = bounds(min, max)?;
    let Some(set) = db.keyspace.read::<SortedSet>(args[0])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let ranks = set.ranks(min, max);
    Ok(members(set, limited(ranks, options), options))
}

/// Applies LIMIT: a negative offset gives nothing, a negative count all the rest.
fn limited(ranks: Range<usize>, options: &RangeOptions) -> Range<usize> {
    let Some((offset, count)) = options.limit else {
        return ranks;
    };
    let Ok(offset) = usize::try_from(offset) else {
        return 0..0;
    };
    let offset = offset.min(ranks.len());
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(ranks.len() - offset);
    if options.reverse {
        let end = ranks.end - offset;
        return end - count..end;
    }
    let start = ranks.start + offset;
    start..start + count
}

fn members<'a>(set: &'a SortedSet, ranks: Range<usize>, options: &RangeOptions) -> Reply<'a> {
    let items = set.range(ranks);
    if options.reverse {
        listed(items.rev(), options)
    } else {
        listed(items, options)
    }
}

fn listed<'a>(items: impl Iterator<Item = (&'a [u8], f64)>, options: &RangeOptions) -> Reply<'a> {
    let mut replies = Vec::with_capacity(items.size_hint().0);
    for (member, member_score) in items {
        replies.push(Reply::bulk(member));
        if options.with_scores {
            replies.push(Reply::Score(member_score));
        }
    }
    Reply::Array(replies)
}

fn bounds(min: &[u8], max: &[u8]) -> Result<(Bound, Bound)> {
    let bound = |word: &[u8]| {
        let (word, exclusive) = word.strip_prefix(b"(").map_or((word, false), |word| (word, true));
        parse_bound(word).map(|score| Bound { score, exclusive })
    };
    bound(min)
        .zip(bound(max))
        .ok_or_else(|| Error::reply("ERR min or max is not a float"))
}
