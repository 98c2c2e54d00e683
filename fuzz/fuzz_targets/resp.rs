//! Where replies end, and what they say. However the bytes are cut, the ends are the same.
#![no_main]

use covara_kv::fuzzed::{Scanner, decode, published};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = Scanner::default().end(bytes);
    let mut scanner = Scanner::default();
    let step = usize::from(cut).max(1);
    let mut ends = (step..bytes.len()).step_by(step).chain([bytes.len()]);
    let pieces = ends.find_map(|end| match scanner.end(&bytes[..end]) {
        Ok(None) => None,
        found => Some(found),
    });
    let pieces = pieces.unwrap_or(Ok(None));
    // What is found malformed early may have looked unfinished to one who knew less.
    if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
        assert_eq!(whole, pieces);
    }
    if let Ok(Some(end)) = whole {
        let _ = decode::parse(&bytes[..end]);
        let _ = decode::parse_reply(&bytes[..end]);
    }
    let _ = decode::parse_all(bytes);
    // A message that is skipped ends where the scanner finds its end.
    if let Some(message) = published(bytes) {
        assert_eq!(whole, Ok(Some(bytes.len() - message.rest.len())));
    }
});
