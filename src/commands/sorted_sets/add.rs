//! ZADD with its options, and ZINCRBY.

use crate::commands::numbers::double;
use crate::commands::{Args, Database};
use crate::error::{Error, Result};
use crate::reply::Reply;
use crate::store::SortedSet;

#[derive(Default)]
struct AddOptions {
    only_new: bool,
    only_existing: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

impl AddOptions {
    /// Reads the leading options. Returns the words after them.
    fn parse<'a, 'b>(words: &'b [&'a [u8]]) -> (Self, &'b [&'a [u8]]) {
        let mut options = Self::default();
        let mut rest = words;
        while let [word, after @ ..] = rest {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => options.only_new = true,
                b"XX" => options.only_existing = true,
                b"GT" => options.greater = true,
                b"LT" => options.less = true,
                b"CH" => options.count_changed = true,
                b"INCR" => options.increment = true,
                _ => break,
            }
            rest = after;
        }
        (options, rest)
    }

    fn check(&self, pairs: usize) -> Result<()> {
        if self.only_new && self.only_existing {
            return Err(Error::reply(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (self.greater && (self.only_new || self.less)) || (self.less && self.only_new) {
            return Err(Error::reply(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increment && pairs > 1 {
            return Err(Error::reply(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    fn allows(&self, current: Option<f64>, new: f64) -> bool {
        match current {
            None => !self.only_existing,
            Some(current) => {
                !(self.only_new || (self.greater && new <= current) || (self.less && new >= current))
            }
        }
    }
}

/// A score. Zero has no sign, as in Redis's small sets.
fn score(word: &[u8]) -> Result<f64> {
    Ok(double(word)? + 0.0)
}

pub fn zadd<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    if let [key, word, member] = *args
        && let Ok(score) = score(word)
    {
        let old = db.keyspace.entry::<SortedSet>(key)?.insert(member, score);
        return Ok(old.is_none().into());
    }
    let (options, pairs) = AddOptions::parse(&args[1..]);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(Error::syntax());
    }
    options.check(pairs.len() / 2)?;
    let scores = pairs
        .iter()
        .step_by(2)
        .map(|word| score(word))
        .collect::<Result<Vec<_>>>()?;
    let members = pairs.iter().skip(1).step_by(2);
    if options.increment {
        return increment(db, args[0], scores[0], pairs[1], &options);
    }
    add_all(db, args[0], scores.into_iter().zip(members.copied()), &options)
}

fn add_all<'a, 'b>(
    db: &'a mut Database,
    key: &[u8],
    items: impl Iterator<Item = (f64, &'b [u8])>,
    options: &AddOptions,
) -> Result<Reply<'a>> {
    if options.only_existing && db.keyspace.read::<SortedSet>(key)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    let set = db.keyspace.entry::<SortedSet>(key)?;
    let (mut added, mut changed) = (0, 0);
    for (score, member) in items {
        let current = set.score(member);
        if options.allows(current, score) {
            set.insert(member, score);
            added += i64::from(current.is_none());
            changed += i64::from(current.is_some_and(|current| current != score));
        }
    }
    Ok(Reply::Integer(if options.count_changed {
        added + changed
    } else {
        added
    }))
}

pub fn zincrby<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    increment(db, args[0], double(args[1])?, args[2], &AddOptions::default())
}

fn increment<'a>(
    db: &'a mut Database,
    key: &[u8],
    by: f64,
    member: &[u8],
    options: &AddOptions,
) -> Result<Reply<'a>> {
    let current = db
        .keyspace
        .read::<SortedSet>(key)?
        .and_then(|set| set.score(member));
    if options.only_new && current.is_some() {
        return Ok(Reply::Nil);
    }
    let sum = current.unwrap_or(0.0) + by;
    if sum.is_nan() {
        return Err(Error::reply("ERR resulting score is not a number (NaN)"));
    }
    if !options.allows(current, sum) {
        return Ok(Reply::Nil);
    }
    db.keyspace.entry::<SortedSet>(key)?.insert(member, sum);
    Ok(Reply::Double(sum))
}
