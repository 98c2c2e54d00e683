//! What a command runs on, and the one place where commands are run.

use super::scripting::Scripting;
use super::{Args, Command};
use crate::error::Result;
use crate::reply::Reply;
use crate::store::{Channels, Keyspace, Policy};

/// A store and what commands need beside it. One lock guards it, so MULTI and scripts are atomic.
pub struct Database {
    pub keyspace: Keyspace,
    pub channels: Channels,
    /// Created by the first script. None while a script runs.
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
