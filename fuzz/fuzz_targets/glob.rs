//! Globs of KEYS, SCAN and PSUBSCRIBE.
#![no_main]

use covara_kv::fuzzed::matches;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (pattern, text) = input;
    matches(pattern, text);
    // A text escaped byte by byte matches that text and, with a byte more, no other.
    let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
    assert!(matches(&escaped, text));
    assert!(!matches(&[&escaped[..], b"x"].concat(), text));
    // As in Redis, not even `*` matches an empty text.
    assert_eq!(matches(&[&escaped[..], b"*"].concat(), text), !text.is_empty());
});
