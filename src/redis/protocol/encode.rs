//! Encodes commands.

/// Begins a command of so many words.
pub fn begin(into: &mut Vec<u8>, words: usize) {
    head(into, b'*', words);
}

/// What ends every line, and every word.
pub const END: &[u8] = b"\r\n";

/// The word follows, and then `END`.
pub fn begin_word(into: &mut Vec<u8>, length: usize) {
    head(into, b'$', length);
}

pub fn word(into: &mut Vec<u8>, word: &[u8]) {
    begin_word(into, word.len());
    into.extend_from_slice(word);
    into.extend_from_slice(END);
}

fn head(into: &mut Vec<u8>, kind: u8, number: usize) {
    into.push(kind);
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    into.extend_from_slice(END);
}

pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin(&mut bytes, words.len());
    for each in words {
        word(&mut bytes, each);
    }
    bytes
}
