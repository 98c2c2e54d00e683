//! Converts replies to JavaScript values.

use napi::bindgen_prelude::FunctionRef;
use smallvec::SmallVec;

use super::raw::{Scope, ScopedValue};
use crate::error::{Error, Result};
use crate::reply::{Reply, format_double};

/// The JavaScript function `collect` of types.d.ts: to set elements one by one through Node-API takes three times as long.
pub type Collect = FunctionRef<(), ()>;

/// The most items of one call of `Collect`: all are arguments on the stack.
const AT_ONCE: usize = 256;

/// A call with up to this many arguments costs no allocation.
const FEW: usize = 16;

/// Shorter strings lie in V8's heap: V8 does bookkeeping for each external string.
const LONG: usize = 4 << 10;

pub struct Replies<'scope, 'a> {
    pub scope: Scope<'scope>,
    pub collect: &'a Collect,
    /// Whether all bulk strings are known to be ASCII.
    pub is_ascii: bool,
    /// Whether V8 is expected to move the strings to its old generation before they are dropped.
    pub grow_old: bool,
}

impl<'scope> Replies<'scope, '_> {
    pub fn value(&self, reply: &Reply) -> Result<ScopedValue<'scope>> {
        match reply {
            Reply::Nil => self.scope.null(),
            Reply::Status(text) => self.scope.string(text.as_bytes()),
            // Beyond 2^53 this is the nearest double.
            Reply::Integer(number) => self.scope.double(*number as f64),
            Reply::Double(number) => self.scope.double(*number),
            Reply::Score(number) => self.scope.latin1(format_double(*number).as_bytes()),
            Reply::Bulk(bytes) => self.text(bytes),
            Reply::Array(items) if items.iter().any(|item| matches!(item, Reply::Array(_))) => {
                self.nested(items)
            }
            Reply::Array(items) => self.array(items.iter().map(|item| self.value(item))),
            Reply::Error(error) => self.scope.error(error),
        }
    }

    /// An array of arrays. They may be nested a thousand deep, for which a thread of JavaScript has no stack: so without recursion.
    fn nested(&self, items: &[Reply]) -> Result<ScopedValue<'scope>> {
        let mut open = vec![(items.iter(), Vec::with_capacity(items.len()))];
        loop {
            let Some((left, done)) = open.last_mut() else {
                return self.scope.null();
            };
            let value = match left.next() {
                Some(Reply::Array(inner)) => {
                    open.push((inner.iter(), Vec::with_capacity(inner.len())));
                    continue;
                }
                Some(item) => {
                    done.push(self.value(item)?);
                    continue;
                }
                None => self.array(done.drain(..).map(Ok))?,
            };
            open.pop();
            match open.last_mut() {
                Some((_, outer)) => outer.push(value),
                None => return Ok(value),
            }
        }
    }

    fn text(&self, bytes: &[u8]) -> Result<ScopedValue<'scope>> {
        if !self.is_ascii {
            return self.scope.string(bytes);
        }
        let is_outside = self.grow_old && bytes.len() >= LONG;
        let outside = is_outside.then(|| self.scope.external_latin1(bytes)).flatten();
        outside.map_or_else(|| self.scope.latin1(bytes), Ok)
    }

    pub fn array(
        &self,
        mut items: impl Iterator<Item = Result<ScopedValue<'scope>>>,
    ) -> Result<ScopedValue<'scope>> {
        let env = self.scope.env();
        let collect = self
            .collect
            .borrow_back(&env)
            .map_err(|_| Error::reply("ERR the environment is ending"))?;
        let collect = self.scope.import(&collect);
        let mut array = self.scope.undefined()?;
        let mut arguments = SmallVec::<[_; FEW]>::with_capacity(items.size_hint().0.min(AT_ONCE) + 1);
        loop {
            arguments.push(array);
            for item in items.by_ref().take(AT_ONCE) {
                arguments.push(item?);
            }
            let last = arguments.len() <= AT_ONCE;
            array = self.scope.call(collect, &arguments)?;
            if last {
                return Ok(array);
            }
            arguments.clear();
        }
    }
}
