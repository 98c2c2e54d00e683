//! What a command runs on, and the one place where commands are run.

use super::scripting::Scripting;
use super::{Args, Command};
use crate::error::Result;
use crate::reply::Reply;
use crate::store::{Channels, Keyspace, Policy};

/// A store with all that commands need of it. It is used under one lock, so that MULTI and scripts are atomic by nature.
pub struct Database {
    pub keyspace: Keyspace,
    pub channels: Channels,
    /// Made by the first script; away while one runs.
    pub(super) scripting: Option<Scripting>,
}

impl Database {
    pub fn new(policy: Policy) -> Self {
        Self {
            keyspace: Keyspace::new(policy),
            channels: Channels::default(),
            scripting: None,
        }
    }

    /// Runs one command, from JavaScript, a MULTI or a script.
    pub fn execute<'a>(&'a mut self, command: &Command, args: Args) -> Result<Reply<'a>> {
        command.check_arity(args.len())?;
        self.keyspace.command = command.name;
        (command.run)(self, args)
    }
}
