//! Removes the password from errors of the server.

use crate::error::Error;
use crate::redis::credentials::Credentials;

/// Servers and proxies may repeat the arguments of an unknown command.
pub fn without_secrets(credentials: &Credentials, error: &Error) -> Error {
    let text = error.message.split(", with args").next().unwrap_or_default();
    match &credentials.password {
        Some(password) => Error::reply(masked(text, password)),
        None => Error::reply(text.to_owned()),
    }
}

/// Errors of Redis that mention passwords and show none.
const KNOWN: [&str; 4] = [
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOAUTH HELLO must be called with the client already authenticated",
    "ERR AUTH <password> called without any password configured",
    "ERR Client sent AUTH, but no password is set",
];

/// Masks the password. A short one within a longer word is not ours.
fn masked(text: &str, password: &str) -> String {
    const LONG: usize = 8;
    if password.is_empty() || KNOWN.iter().any(|known| text.starts_with(known)) {
        return text.to_owned();
    }
    let is_of_word = |at: Option<char>| at.is_some_and(char::is_alphanumeric);
    let (first, last) = (password.chars().next(), password.chars().last());
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(password) {
        let (before, after) = (&rest[..at], &rest[at + password.len()..]);
        let begins_within = is_of_word(first) && is_of_word(before.chars().last().or(masked.chars().last()));
        let ends_within = is_of_word(last) && is_of_word(after.chars().next());
        let is_ours = password.len() >= LONG || !(begins_within || ends_within);
        masked.push_str(before);
        masked.push_str(if is_ours { "***" } else { password });
        rest = after;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::masked;

    /// Without a search for whole words, a user with the password `word` would read "invalid username-pass*** pair".
    #[test]
    fn a_password_is_masked_as_a_word_and_not_within_one() {
        let known = "WRONGPASS invalid username-password pair or user is disabled.";
        for password in ["word", "password", "pair", "user", "a", "WRONGPASS"] {
            assert_eq!(masked(known, password), known);
        }
        let shown =
            "ERR unknown command 'AUTH' with 'hunter2' for user:hunter2@host, not hunter22 or ahunter2";
        assert_eq!(
            masked(shown, "hunter2"),
            "ERR unknown command 'AUTH' with '***' for user:***@host, not hunter22 or ahunter2"
        );
        assert_eq!(masked("ERR \\x00long-secret0", "long-secret"), "ERR \\x00***0");
        assert_eq!(masked("ERR -é!-é!a", "-é!"), "ERR ******a");
        assert_eq!(masked("ERR aaaa a", "a"), "ERR aaaa ***");
        assert_eq!(masked("ERR text", ""), "ERR text");
    }
}
