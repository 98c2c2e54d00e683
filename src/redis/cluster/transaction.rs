//! Joins the parts of a transaction that was split by slot. Each part is a transaction of its own, and may fail though others were run.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::redis::cluster::frames::{array, items, misshapen, replies, sum};
use crate::redis::protocol::decode;
use crate::redis::slot::Slot;
use crate::reply::Reply;

/// The most slots that an error lists.
const LISTED: usize = 8;

/// The part of one slot.
pub struct TransactionPart<'a> {
    pub slot: Slot,
    /// The place of each of its commands in the whole.
    pub places: &'a [usize],
    pub outcome: &'a Result<Bytes>,
}

/// What is known of a part.
#[derive(PartialEq, Eq)]
enum PartFate {
    Run,
    NotRun,
    Unknown,
}

/// The result of each command in its place, as the reply to EXEC has them. An error has them too if a part was not run.
pub fn joined(parts: &[TransactionPart]) -> Result<Bytes> {
    let count = parts
        .iter()
        .flat_map(|part| part.places)
        .max()
        .map_or(0, |last| last + 1);
    let mut results: Vec<Option<Result<Bytes>>> = vec![None; count];
    let mut fates = Vec::with_capacity(parts.len());
    for part in parts {
        let (fate, outcomes) = outcomes(part).map_err(|error| error.at(None, Some(part.slot)))?;
        fates.push((part.slot, fate));
        for (outcome, place) in outcomes.into_iter().zip(part.places) {
            let result = &mut results[*place];
            *result = Some(match result.take() {
                None => outcome,
                Some(other) => added(other, outcome),
            });
        }
    }
    let results: Vec<Result<Bytes>> = results.into_iter().flatten().collect();
    if fates.iter().all(|(_, fate)| *fate == PartFate::Run) {
        let frames: Result<Vec<Bytes>> = results.into_iter().collect();
        return Ok(array(&frames?));
    }
    let told = told(&fates);
    let results = results.into_iter().map(|result| {
        result.and_then(not_an_error).map_err(|error| {
            let message = format!("{} (the transaction was split by slot: {told})", error.message);
            error.with_message(message)
        })
    });
    let results: Vec<_> = results.collect();
    let mut errors = results.iter().filter_map(|result| result.as_ref().err());
    let first = errors.clone().next();
    // One by which it may be called again must not hide one that leaves it open.
    let failed = errors.find(|error| error.leaves_open()).or(first).cloned();
    Err(failed.unwrap_or_else(misshapen).with_results(results))
}

/// The outcome of each command of a part.
fn outcomes(part: &TransactionPart) -> Result<(PartFate, Vec<Result<Bytes>>)> {
    let frame = match part.outcome {
        Ok(frame) => frame,
        Err(error) => {
            let fate = if error.leaves_open() {
                PartFate::Unknown
            } else {
                PartFate::NotRun
            };
            return Ok((fate, vec![Err(error.clone()); part.places.len()]));
        }
    };
    let mut queued = replies(frame)?;
    let executed = queued.pop().ok_or_else(misshapen)?;
    if executed.first() == Some(&b'*') {
        let results = items(&executed)?;
        if results.len() != part.places.len() {
            return Err(misshapen());
        }
        return Ok((PartFate::Run, results.into_iter().map(Ok).collect()));
    }
    let aborted = error_of(&executed, Some(part.slot))?;
    let mut queued = queued.iter();
    // Without the right to MULTI a server runs the commands one by one.
    if let Some(Ok(refused)) = queued.next().map(|multi| error_of(multi, Some(part.slot))) {
        return Ok((PartFate::Unknown, vec![Err(refused); part.places.len()]));
    }
    let errors =
        queued.map(|reply| Err(error_of(reply, Some(part.slot)).unwrap_or_else(|_| aborted.clone())));
    Ok((PartFate::NotRun, errors.collect()))
}

/// The result of a command that was run, unless it is an error.
fn not_an_error(frame: Bytes) -> Result<Bytes> {
    match frame.first() {
        Some(b'-') => Err(error_of(&frame, None)?),
        _ => Ok(frame),
    }
}

fn error_of(frame: &[u8], slot: Option<Slot>) -> Result<Error> {
    match decode::parse(frame)? {
        Reply::Error(error) => Ok(error.at(None, slot)),
        _ => Err(misshapen()),
    }
}

/// The result of a command whose keys are in several parts.
fn added(one: Result<Bytes>, other: Result<Bytes>) -> Result<Bytes> {
    let (one, other) = (one?, other?);
    let refused = [&one, &other]
        .into_iter()
        .find(|frame| frame.first() == Some(&b'-'));
    refused.map_or_else(|| sum(&[&one, &other]), |refused| Ok(refused.clone()))
}

/// As `run in slot 7, not run in slots 8, 9`.
fn told(fates: &[(Slot, PartFate)]) -> String {
    let told = [
        (PartFate::Run, "run"),
        (PartFate::NotRun, "not run"),
        (PartFate::Unknown, "perhaps run"),
    ];
    let told = told.into_iter().filter_map(|(fate, words)| {
        let slots: Vec<_> = fates.iter().filter(|(_, other)| *other == fate).collect();
        let listed: Vec<_> = slots
            .iter()
            .take(LISTED)
            .map(|(slot, _)| slot.to_string())
            .collect();
        let more = slots.len() - listed.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let plural = if slots.len() == 1 { "" } else { "s" };
        (!slots.is_empty()).then(|| format!("{words} in slot{plural} {}{more}", listed.join(", ")))
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn part<'a>(slot: Slot, places: &'a [usize], outcome: &'a Result<Bytes>) -> TransactionPart<'a> {
        TransactionPart {
            slot,
            places,
            outcome,
        }
    }

    fn run(results: &str) -> Result<Bytes> {
        let queued = results.matches(':').count();
        Ok(format!("+OK\r\n{}*{queued}\r\n{results}", "+QUEUED\r\n".repeat(queued)).into())
    }

    #[test]
    fn results_go_to_their_places_and_numbers_of_one_place_are_added() {
        let (one, two) = (run(":1\r\n:2\r\n"), run(":3\r\n:4\r\n"));
        let joined = joined(&[part(7, &[0, 2], &one), part(8, &[1, 2], &two)]);
        assert_eq!(joined.unwrap(), "*3\r\n:1\r\n:3\r\n:6\r\n");
    }

    #[test]
    fn an_error_has_the_results_of_the_parts_that_were_run() {
        let lost = Err(Error::because(Reason::Lost, "The connection was lost"));
        let late = Err(Error::because(Reason::QueueTimeout, "No node"));
        let one = run(":1\r\n");
        let error = joined(&[part(7, &[1], &one), part(8, &[0], &lost), part(9, &[2], &late)]).unwrap_err();
        assert_eq!(error.reason, Some(Reason::Lost));
        let told =
            "(the transaction was split by slot: run in slot 7, not run in slot 9, perhaps run in slot 8)";
        assert!(error.message.ends_with(told), "{}", error.message);
        assert_eq!(error.results[1], Ok(Bytes::from(":1\r\n")));
        let reasons = error.results.iter().map(|result| result.as_ref().err()?.reason);
        assert_eq!(
            reasons.collect::<Vec<_>>(),
            [Some(Reason::Lost), None, Some(Reason::QueueTimeout)]
        );
    }

    #[test]
    fn a_part_that_was_aborted_was_not_run() {
        let aborted = Ok(Bytes::from(
            "+OK\r\n+QUEUED\r\n-OOM no\r\n-EXECABORT discarded\r\n",
        ));
        let one = run(":1\r\n");
        let error = joined(&[part(7, &[0, 1], &aborted), part(8, &[2], &one)]).unwrap_err();
        let codes = error
            .results
            .iter()
            .map(|result| result.as_ref().err().map(|error| error.code.clone()));
        assert_eq!(
            codes.collect::<Vec<_>>(),
            [Some("EXECABORT".into()), Some("OOM".into()), None]
        );
        assert_eq!(error.results[0].as_ref().unwrap_err().slot, Some(7));
        let refused = Ok(Bytes::from("-NOPERM no\r\n:1\r\n-ERR EXEC without MULTI\r\n"));
        let error = joined(&[part(7, &[0], &refused), part(8, &[1], &one)]).unwrap_err();
        assert_eq!(error.code, "NOPERM");
        assert!(
            error.message.contains("perhaps run in slot 7"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error_and_no_panic() {
        let one = run(":1\r\n");
        for frame in [
            "",
            "+OK\r\n",
            "+OK\r\n+QUEUED\r\n*0\r\n",
            "+OK\r\n+QUEUED\r\n+OK\r\n",
            "*",
        ] {
            let frame = Ok(Bytes::from(frame));
            let error = joined(&[part(7, &[0], &frame), part(8, &[1], &one)]).unwrap_err();
            assert_eq!(error.reason, Some(Reason::Protocol));
        }
    }
}
