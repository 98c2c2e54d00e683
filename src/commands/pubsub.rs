//! <https://redis.io/docs/latest/commands/?group=pubsub>. The addon subscribes: a subscription belongs to a handle, not to a command.

use super::{Args, Command, Database, KeyWords, Spread, WRITES, command};
use crate::error::Result;
use crate::reply::Reply;

pub const COMMANDS: &[Command] =
    &[command("PUBLISH", 3, WRITES, KeyWords::None, publish).spread(Spread::Channel)];

fn publish<'a>(db: &'a mut Database, args: Args) -> Result<Reply<'a>> {
    Ok(Reply::count(db.channels.publish(args[0], args[1])))
}
