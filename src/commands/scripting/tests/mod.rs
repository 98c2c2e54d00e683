//! What scripts do in a store. Texts and conversions are those of Redis 7.0.15.

mod cjson;
mod conversions;
mod errors;
mod isolation;
mod limits;
mod scripts;
mod strings;

use super::Scripting;
use crate::commands::{COMMANDS, Database, index_of};
use crate::error::Result;
use crate::reply::Reply;
use crate::store::Policy;

fn database() -> Database {
    Database::new(Policy::Strict)
}

fn run<'a>(db: &'a mut Database, words: &[&str]) -> Result<Reply<'a>> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let index = index_of(words[0]).expect("a command");
    db.execute(COMMANDS[index], &words[1..])
}

/// Runs a script without keys and arguments.
fn eval<'a>(db: &'a mut Database, script: &str) -> Result<Reply<'a>> {
    run(db, &["EVAL", script, "0"])
}

/// The reply of a script on a new store, in a short notation.
fn shown(script: &str) -> String {
    match eval(&mut database(), script) {
        Ok(reply) => show(&reply),
        Err(error) => format!("-{}", error.message),
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Status(text) => format!("+{text}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Double(number) | Reply::Score(number) => format!("{number:?}"),
        Reply::Bulk(bytes) => format!("'{}'", bytes.escape_ascii()),
        Reply::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Reply::Error(error) => format!("-{}", error.message),
    }
}

/// The error of a script, without its end ` script: <sha>, on …`.
fn failure(script: &str) -> String {
    let shown = shown(script);
    let text = shown.split(" script: ").next().unwrap_or(&shown);
    text.to_owned()
}
