//! Replies → JavaScript's values.

use super::raw::{Scope, Value};
use crate::error::Result;
use crate::reply::Reply;

pub fn to_value<'scope>(scope: Scope<'scope>, reply: &Reply) -> Result<Value<'scope>> {
    match reply {
        Reply::Nil => scope.null(),
        Reply::Status(text) => scope.string(text.as_bytes()),
        // Past 2^53 the nearest double.
        Reply::Integer(number) => scope.double(*number as f64),
        Reply::Double(number) => scope.double(*number),
        Reply::Bulk(bytes) => scope.string(bytes),
        Reply::Array(items) => scope.array(items.iter().map(|item| to_value(scope, item))),
        Reply::Error(error) => scope.error(error),
    }
}
