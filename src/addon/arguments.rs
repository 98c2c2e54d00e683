//! JavaScript's values → a command's words.

use std::io::Write;
use std::ops::Range;

use smallvec::SmallVec;

use super::raw::{Buffer, Scope, Value};
use crate::commands::{COMMANDS, Command, Keys};
use crate::error::{Error, Result};
use crate::reply::format_double;

/// The words of one command after another, in one buffer.
#[derive(Default)]
pub struct Arguments {
    bytes: Buffer,
    /// Where each word ends.
    ends: SmallVec<[usize; 8]>,
}

impl Arguments {
    /// Reads the words of `command`, and joins the prefix to its keys. Gives the places of the words.
    #[inline]
    pub fn read<'scope>(
        &mut self,
        scope: Scope<'scope>,
        command: &Command,
        prefix: Option<&[u8]>,
        values: impl Iterator<Item = Result<Value<'scope>>>,
    ) -> Result<Range<usize>> {
        let first = self.ends.len();
        let mut counted = 0;
        for (index, value) in values.enumerate() {
            if let Some(prefix) = prefix.filter(|_| command.keys.includes(index, counted)) {
                self.bytes.extend_from_slice(prefix);
                self.bytes.push(b':');
            }
            self.push(scope, value?)?;
            if index == 1 && command.keys == Keys::Counted {
                counted = std::str::from_utf8(self.word(first + 1))
                    .ok()
                    .and_then(|word| word.parse().ok())
                    .unwrap_or(0);
            }
        }
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

    #[inline]
    fn push(&mut self, scope: Scope, value: Value) -> Result<()> {
        if !scope.append_utf8(value, &mut self.bytes)? {
            let number = scope.number(value).filter(|number| !number.is_nan());
            let number = number.ok_or_else(|| {
                Error::ours(
                    "INVALID_ARGUMENT",
                    "a command's arguments must be strings or numbers",
                )
            })?;
            self.push_number(number);
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn push_number(&mut self, number: f64) {
        const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT_INTEGERS {
            // Writing to memory cannot fail.
            let _ = write!(self.bytes, "{}", number as i64);
        } else {
            self.bytes.extend_from_slice(format_double(number).as_bytes());
        }
    }
}

/// The row that a command's number names.
pub fn command(scope: Scope, number: Option<&Value>) -> Result<&'static Command> {
    number
        .and_then(|number| scope.number(*number))
        .and_then(|number| COMMANDS.get(number as usize).copied())
        .ok_or_else(|| Error::ours("INVALID_ARGUMENT", "no command has this number"))
}
