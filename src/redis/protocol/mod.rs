//! RESP 2 and 3.
//!
//! - [`reply_end`]: where a reply ends. [`decode`]: what it says. [`encode`]: commands.

pub mod decode;
pub mod encode;
pub mod published;
pub mod reply_end;
