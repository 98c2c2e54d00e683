//! A script that must return 1, on a store that stays.

use std::cell::RefCell;

use covara_kv::fuzzed::{COMMANDS, Database, Policy, Reply, index_of};

thread_local! {
    static STORE: RefCell<Database> = RefCell::new(Database::new(Policy::Strict));
}

pub fn run(script: &[u8], argv: &[&[u8]]) {
    let words = [&[script, b"0"], argv].concat();
    let eval = COMMANDS[index_of(b"EVAL").expect("a command")];
    STORE.with_borrow_mut(|store| match store.execute(eval, &words) {
        Ok(reply) => assert_eq!(reply, Reply::Integer(1)),
        // A pattern may take its time.
        Err(error) => assert_eq!(error.code, "TIMEOUT", "{}", error.message),
    });
}
