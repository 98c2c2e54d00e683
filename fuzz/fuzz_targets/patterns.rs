//! Lua's patterns, as scripts reach them.
#![no_main]

mod script;

use libfuzzer_sys::fuzz_target;

const SCRIPT: &[u8] = b"
    local text, pattern, by = ARGV[1], ARGV[2], ARGV[3]
    pcall(string.find, text, pattern)
    pcall(string.find, text, pattern, -2)
    pcall(string.find, text, pattern, 1, true)
    pcall(string.match, text, pattern)
    pcall(string.gsub, text, pattern, by)
    pcall(string.gsub, text, pattern, function(...) return (...) end)
    pcall(function() for a, b in string.gmatch(text, pattern) do end end)
    return 1";

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (text, pattern, by) = input;
    script::run(SCRIPT, &[text, pattern, by]);
});
