//! JSON in scripts: what was decoded can be encoded, and decoded again.
#![no_main]

mod script;

use libfuzzer_sys::fuzz_target;

const SCRIPT: &[u8] = b"
    local ok, value = pcall(cjson.decode, ARGV[1])
    if not ok then return 1 end
    local ok, text = pcall(cjson.encode, value)
    if not ok then return 1 end
    return type(cjson.decode(text)) == type(value) and 1";

fuzz_target!(|json: &[u8]| {
    script::run(SCRIPT, &[json]);
});
