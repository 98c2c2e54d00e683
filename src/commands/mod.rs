//! The commands, as data: each is a row of its file's table and one short function.

mod database;
mod hashes;
mod keys;
mod lists;
mod numbers;
mod pubsub;
mod scripting;
mod sets;
mod sorted_sets;
mod strings;

use std::sync::LazyLock;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

pub use database::Database;

use crate::error::{Error, Result};
use crate::reply::Reply;

/// What follows the command's name.
pub type Args<'a> = &'a [&'a [u8]];

pub struct Command {
    pub name: &'static str,
    /// As in COMMAND INFO: the number of words with the name, or minus the least number.
    pub arity: i8,
    /// Whether it may change data: such a command is never sent twice.
    pub writes: bool,
    pub keys: KeyWords,
    pub shape: CommandShape,
    pub effect: Effect,
    pub spread: Spread,
    pub run: for<'a> fn(&'a mut Database, Args) -> Result<Reply<'a>>,
}

/// How a server's reply is converted to the form that the memory store replies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandShape {
    AsIs,
    /// With WITHSCORES, RESP 3 has pairs of member and double. The memory store has a flat list of strings, as RESP 2 has.
    Scores,
    /// A script, sent as EVALSHA where the server may have its text. Its reply has any form.
    Script,
}

/// How a writing command changes the hashes at its keys: `fanout::change` follows the framework's records by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Sets field, value, field, value, …
    SetsFields,
    RemovesFields,
    RemovesKeys,
    /// Changes no field.
    KeepsFields,
    Any,
}

/// What becomes of a command in a cluster when not all of its keys are in one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// It is refused: a node takes keys of one slot only.
    OneSlot,
    /// It is split by slot, and the numbers that the parts answer are added.
    Sum,
    /// It is split by slot, and each item of the parts' replies goes to the place of its key.
    InOrder,
    /// All masters are asked, and their keys are put together.
    Keys,
    /// All masters are asked, one after the other: its first argument is a cursor.
    Scan,
    /// It has no key. Its first argument is a channel, which has a slot too.
    Channel,
}

/// Which arguments are keys, and so take the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWords {
    None,
    First,
    FirstTwo,
    All,
    /// Key, value, key, value, …
    Alternate,
    /// After the second argument, which is their number.
    Counted,
}

impl KeyWords {
    /// Whether the argument at `index` is a key. `counted` is the number that the second argument holds.
    pub fn includes(self, index: usize, counted: usize) -> bool {
        match self {
            KeyWords::None => false,
            KeyWords::First => index == 0,
            KeyWords::FirstTwo => index < 2,
            KeyWords::All => true,
            KeyWords::Alternate => index.is_multiple_of(2),
            KeyWords::Counted => index >= 2 && index - 2 < counted,
        }
    }
}

/// A row: `command("GET", 2, READS, KeyWords::First, get)`.
const fn command(
    name: &'static str,
    arity: i8,
    writes: bool,
    keys: KeyWords,
    run: for<'a> fn(&'a mut Database, Args) -> Result<Reply<'a>>,
) -> Command {
    Command {
        name,
        arity,
        writes,
        keys,
        shape: CommandShape::AsIs,
        effect: Effect::Any,
        spread: Spread::OneSlot,
        run,
    }
}

const READS: bool = false;
const WRITES: bool = true;

/// All rows. A command's number is its index here, which is fixed for the life of the process only.
pub static COMMANDS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
    [
        strings::COMMANDS,
        keys::COMMANDS,
        hashes::COMMANDS,
        sets::COMMANDS,
        lists::COMMANDS,
        sorted_sets::COMMANDS,
        pubsub::COMMANDS,
        scripting::COMMANDS,
    ]
    .into_iter()
    .flatten()
    .collect()
});

static INDEX: LazyLock<HashMap<&'static str, usize, RandomState>> = LazyLock::new(|| {
    COMMANDS
        .iter()
        .enumerate()
        .map(|(index, command)| (command.name, index))
        .collect()
});

/// The number of a command, by its name in any case.
pub fn index_of(name: &[u8]) -> Option<usize> {
    let name = std::str::from_utf8(name).ok()?;
    INDEX
        .get(name)
        .or_else(|| INDEX.get(name.to_ascii_uppercase().as_str()))
        .copied()
}

impl Command {
    const fn shape(self, shape: CommandShape) -> Self {
        Self { shape, ..self }
    }

    const fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    const fn spread(self, spread: Spread) -> Self {
        Self { spread, ..self }
    }

    pub fn check_arity(&self, arguments: usize) -> Result<()> {
        let words = arguments as i64 + 1;
        let arity = i64::from(self.arity);
        if words == arity || (arity < 0 && words >= -arity) {
            return Ok(());
        }
        let name = self.name.to_ascii_lowercase();
        Err(Error::reply(format!(
            "ERR wrong number of arguments for '{name}' command"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::store::Policy;

    #[test]
    fn every_command_has_one_row() {
        let names: HashSet<_> = COMMANDS.iter().map(|command| command.name).collect();
        assert_eq!(names.len(), COMMANDS.len());
        for (index, command) in COMMANDS.iter().enumerate() {
            assert_eq!(
                index_of(command.name.to_ascii_lowercase().as_bytes()),
                Some(index)
            );
        }
    }

    /// Words that mean something to some command, so that random calls get past its first check.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        let known = [
            "a",
            "b",
            "k",
            "",
            "0",
            "1",
            "-1",
            "2",
            "10",
            "9223372036854775807",
            "-9223372036854775808",
            "1.5",
            "inf",
            "-inf",
            "nan",
            "(1",
            "[a",
            "EX",
            "PX",
            "NX",
            "XX",
            "GT",
            "LT",
            "CH",
            "INCR",
            "LIMIT",
            "WITHSCORES",
            "MATCH",
            "COUNT",
            "TYPE",
            "BYSCORE",
            "REV",
            "KEEPTTL",
            "GET",
            "*",
            "return redis.call('INCR', KEYS[1])",
            "LEFT",
            "BEFORE",
        ];
        prop_oneof![
            9 => prop::sample::select(known.map(|word| word.as_bytes().to_vec()).to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..8),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_command_panics_or_leaves_an_empty_collection(
            calls in prop::collection::vec((0..COMMANDS.len(), prop::collection::vec(word(), 0..7)), 1..40),
            strict: bool,
        ) {
            let mut database = Database::new(if strict { Policy::Strict } else { Policy::Lenient });
            for (index, words) in calls {
                let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let _ = database.execute(COMMANDS[index], &args);
                for (key, value) in database.keyspace.scan(0, u64::MAX).1 {
                    prop_assert!(!value.vanishes(), "{key:?} is empty");
                }
            }
        }
    }
}
