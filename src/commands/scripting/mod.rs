use super::Command;
pub struct Scripting;
pub const COMMANDS: &[Command] = &[];
