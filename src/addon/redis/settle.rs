//! Has JavaScript settle the Promises of answers.

use bytes::Bytes;

use crate::addon::raw::{Scope, ScopedValue};
use crate::addon::reply::Replies;
use crate::error::{Error, Reason, Result};
use crate::redis::completions::Answer;
use crate::redis::protocol::decode;
use crate::redis::request::Shape;
use crate::reply::Reply;

/// The most replies of one call: all are arguments on the stack.
const ARGUMENTS: usize = 256;

/// Half of V8's young generation. With more bytes than this between a call and its answer, the call's Promise is old by then, and
/// keeps its result alive until a collection of the old generation.
const YOUNG: usize = 8 << 20;

/// Calls `callback(first id, ...replies)` for answers whose ids follow one another, or `callback(-1, id, reply, id, reply, …)` where few do:
/// several nodes of a cluster have answered. `awaited` is how many answers the store awaits, these included, where long text may lie
/// outside of V8's heap.
pub fn settle_answers<'scope>(
    mut replies: Replies<'scope, '_>,
    callback: ScopedValue<'scope>,
    answers: &[Answer],
    awaited: Option<usize>,
) -> Result<()> {
    let scope: Scope = replies.scope;
    let mut arguments = Vec::with_capacity(answers.len().min(ARGUMENTS) + 1);
    let mut rest = answers;
    let has_runs = has_runs(answers);
    while let Some(first) = rest.first() {
        let follows = |(index, answer): (usize, &Answer)| answer.id == first.id.wrapping_add(index as u32);
        let some = rest.iter().take(ARGUMENTS).enumerate();
        let run = some.take_while(|each| !has_runs || follows(*each)).count();
        arguments.clear();
        arguments.push(scope.double(if has_runs { f64::from(first.id) } else { -1.0 })?);
        for answer in &rest[..run] {
            if !has_runs {
                arguments.push(scope.double(f64::from(answer.id))?);
            }
            let length = answer.outcome.as_ref().map_or(0, Bytes::len);
            replies.is_ascii = answer.is_ascii;
            replies.grow_old = awaited.is_some_and(|awaited| length.saturating_mul(awaited) > YOUNG);
            let value = value(&replies, answer).or_else(|error| scope.error(&error))?;
            arguments.push(value);
        }
        scope.call(callback, &arguments)?;
        rest = &rest[run..];
    }
    Ok(())
}

/// Whether at least every other answer follows the one before: a call of its own for each would cost more than the numbers do.
fn has_runs(answers: &[Answer]) -> bool {
    let breaks = answers
        .windows(2)
        .filter(|pair| pair[1].id != pair[0].id.wrapping_add(1));
    breaks.count() * 2 <= answers.len()
}

/// The JavaScript value of an answer.
fn value<'scope>(replies: &Replies<'scope, '_>, answer: &Answer) -> Result<ScopedValue<'scope>> {
    let bytes = match &answer.outcome {
        Ok(bytes) => bytes,
        Err(error) if error.results.is_empty() => return Err(error.clone()),
        Err(error) => return replies.array([results(replies, &error.results)].into_iter()),
    };
    match answer.shape {
        Shape::AsIs => replies.value(&decode::parse_reply(bytes)?),
        Shape::Scores => replies.value(&decode::with_scores(decode::parse_reply(bytes)?)),
        Shape::Transaction => replies.value(&transaction(decode::parse_all(bytes)?)?),
    }
}

/// Those of a transaction of which a part has failed.
fn results<'scope>(replies: &Replies<'scope, '_>, results: &[Result<Bytes>]) -> Result<ScopedValue<'scope>> {
    replies.array(results.iter().map(|result| match result {
        Ok(bytes) => replies.value(&decode::parse_reply(bytes)?),
        Err(error) => replies.scope.error(error),
    }))
}

/// `[results]`; or `[error, index]` if the server refused to queue a command, so that none ran.
fn transaction(mut replies: Vec<Reply>) -> Result<Reply> {
    match replies.pop() {
        Some(Reply::Array(results)) => Ok(Reply::Array(vec![Reply::Array(results)])),
        Some(Reply::Error(aborted)) => {
            let refused = replies.iter().position(|reply| matches!(reply, Reply::Error(_)));
            match refused.map(|index| (index, replies.swap_remove(index))) {
                Some((index @ 1.., error)) => Ok(Reply::Array(vec![error, Reply::count(index - 1)])),
                Some((_, Reply::Error(error))) => Err(error),
                _ => Err(aborted),
            }
        }
        _ => Err(Error::because(Reason::Protocol, "the reply to EXEC is none")),
    }
}
