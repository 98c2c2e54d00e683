//! Converts JavaScript values to the words of a command.

use std::ops::Range;

use smallvec::SmallVec;

use super::raw::{Buffer, Scope, ScopedValue};
use crate::commands::{COMMANDS, Command, KeyWords};
use crate::error::{Error, Result};
use crate::reply::format_double;

/// A buffer for the words of a command.
pub trait Words {
    /// Appends a word: the prefix, if there is one, and the value.
    fn push(&mut self, scope: Scope, prefix: Option<&[u8]>, value: ScopedValue) -> Result<()>;

    fn last(&self) -> &[u8];
}

/// Reads the words of `command`, and adds the prefix to its keys.
#[inline]
pub fn read<'scope>(
    words: &mut impl Words,
    scope: Scope<'scope>,
    command: &Command,
    prefix: Option<&[u8]>,
    values: impl Iterator<Item = Result<ScopedValue<'scope>>>,
) -> Result<()> {
    let mut counted = 0;
    for (index, value) in values.enumerate() {
        let prefix = prefix.filter(|_| command.keys.includes(index, counted));
        words.push(scope, prefix, value?)?;
        if index == 1 && command.keys == KeyWords::Counted {
            let number = std::str::from_utf8(words.last()).ok();
            counted = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        }
    }
    Ok(())
}

/// The words of one command after another, in one buffer.
#[derive(Default)]
pub struct Arguments {
    bytes: Buffer,
    /// The end of each word.
    ends: SmallVec<[usize; 8]>,
}

impl Arguments {
    /// Reads the words of `command`. Returns their indexes.
    #[inline]
    pub fn read<'scope>(
        &mut self,
        scope: Scope<'scope>,
        command: &Command,
        prefix: Option<&[u8]>,
        values: impl Iterator<Item = Result<ScopedValue<'scope>>>,
    ) -> Result<Range<usize>> {
        let first = self.ends.len();
        read(self, scope, command, prefix, values)?;
        Ok(first..self.ends.len())
    }

    pub fn words(&self, places: Range<usize>) -> SmallVec<[&[u8]; 8]> {
        let mut words = SmallVec::new();
        for place in places {
            words.push(self.word(place));
        }
        words
    }

    fn word(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }
}

impl Words for Arguments {
    #[inline]
    fn push(&mut self, scope: Scope, prefix: Option<&[u8]>, value: ScopedValue) -> Result<()> {
        push_prefix(&mut self.bytes, prefix);
        if !scope.append_utf8(value, &mut self.bytes)? {
            push_number(&mut self.bytes, scope, value)?;
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn last(&self) -> &[u8] {
        self.word(self.ends.len() - 1)
    }
}

#[inline]
pub fn push_prefix(into: &mut Buffer, prefix: Option<&[u8]>) {
    if let Some(prefix) = prefix {
        into.extend_from_slice(prefix);
        into.push(b':');
    }
}

/// Appends a number. Fails for any other value.
pub fn push_number(into: &mut Buffer, scope: Scope, value: ScopedValue) -> Result<()> {
    const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
    let number = scope.number(value).filter(|number| !number.is_nan());
    let number = number.ok_or_else(|| {
        Error::ours(
            "INVALID_ARGUMENT",
            "a command's arguments must be strings or numbers",
        )
    })?;
    if number.fract() == 0.0 && number.abs() <= EXACT_INTEGERS {
        into.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        into.extend_from_slice(format_double(number).as_bytes());
    }
    Ok(())
}

/// The row of a command, by its number.
#[inline]
pub fn command(scope: Scope, number: Option<&ScopedValue>) -> Result<&'static Command> {
    row(number.and_then(|number| scope.number(*number)))
}

pub fn row(number: Option<f64>) -> Result<&'static Command> {
    number
        .and_then(|number| COMMANDS.get(number as usize).copied())
        .ok_or_else(|| Error::ours("INVALID_ARGUMENT", "no command has this number"))
}
