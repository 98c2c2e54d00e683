//! Lua's functions that are written in Rust, compared with Lua's own.

use mlua::{Function, Lua, MultiValue, Table, Value};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::limits::ScriptRun;
use super::super::{raise, strings};
use super::shown;

/// Lua's own functions, and ours under the same names.
fn both() -> (Lua, Table, Table) {
    let lua = Lua::new();
    lua.set_app_data(ScriptRun::new(std::time::Duration::from_secs(60), 64 << 20));
    let own = lua.globals().get("string").unwrap();
    let ours = lua.create_table().unwrap();
    strings::install(&lua, &ours).unwrap();
    (lua, own, ours)
}

fn outcome(functions: &Table, name: &str, arguments: &MultiValue) -> String {
    let function: Function = functions.get(name).unwrap();
    match function.call::<MultiValue>(arguments.clone()) {
        Ok(values) => format!("{:?}", values.iter().map(readable).collect::<Vec<_>>()),
        Err(error) => {
            let message = raise::message(&error);
            message.lines().next().unwrap_or_default().to_owned()
        }
    }
}

fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.as_bytes().escape_ascii().to_string(),
        other => other.to_string().unwrap_or_default(),
    }
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let items = [
        "a", "b", "x", ".", "%a", "%A", "%d", "%s", "%w", "%p", "%z", "%%", "%.", "[ab]", "[^ab]", "[a-c]",
        "[]a]", "[^]]", "[%a-]", "[a", "[%", "%", "(", ")", "()", "(a)", "(.-)", "%1", "%2", "%b()", "%bxy",
        "%f[%a]", "%f", "^", "$", "*", "+", "-", "?", "\0",
    ];
    let item = prop::sample::select(items.map(|item| item.as_bytes().to_vec()).to_vec());
    prop::collection::vec(item, 0..7).prop_map(|items| items.concat())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop::sample::select(b"aabbcx (y)1 ]%\0\xe9\n\x0b".to_vec()),
        0..16,
    )
}

#[test]
fn patterns_match_as_in_lua() {
    let (lua, own, ours) = both();
    let string = |bytes: Vec<u8>| Value::String(lua.create_string(bytes).unwrap());
    let calls = (
        text(),
        pattern(),
        pattern(),
        -5..20 as mlua::Integer,
        0..5 as mlua::Integer,
    );
    TestRunner::new(ProptestConfig::with_cases(20_000))
        .run(&calls, |(text, pattern, template, init, most)| {
            let (text, pattern, template) = (string(text), string(pattern), string(template));
            let search = MultiValue::from_iter([text.clone(), pattern.clone(), Value::Integer(init)]);
            let mut plain = search.clone();
            plain.push_back(Value::Boolean(true));
            let replace = MultiValue::from_iter([text, pattern, template, Value::Integer(most)]);
            for (name, arguments) in [
                ("find", &search),
                ("match", &search),
                ("find", &plain),
                ("gsub", &replace),
            ] {
                let (expected, found) = (outcome(&own, name, arguments), outcome(&ours, name, arguments));
                prop_assert_eq!(expected, found, "{}", name);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_text_is_replaced_by_texts_tables_and_functions() {
    for (call, result) in [
        ("('hello world'):gsub('o', '0')", "['hell0 w0rld' 2]"),
        ("('hello world'):gsub('o', '0', 1)", "['hell0 world' 1]"),
        ("('hello'):gsub('', '-')", "['-h-e-l-l-o-' 6]"),
        ("('hello'):gsub('(h)(e)', '%2%1%0%%')", "['ehhe%llo' 1]"),
        (
            "('$name is $age'):gsub('%$(%w+)', {name = 'Ann', age = 7})",
            "['Ann is 7' 2]",
        ),
        (
            "('$a $b'):gsub('%$(%w+)', setmetatable({}, {__index = function(_, k) return k:upper() end}))",
            "['A B' 2]",
        ),
        (
            "('a b'):gsub('%w', function(c) if c == 'a' then return c .. c end end)",
            "['aa b' 2]",
        ),
        ("('abc'):gsub('()', '%1')", "['1a2b3c4' 4]"),
        ("('abc'):gsub('^a', 'x')", "['xbc' 1]"),
        ("(12345):gsub('3', 9)", "['12945' 1]"),
        ("string.gsub(12345, 3, 9)", "['12945' 1]"),
    ] {
        let script = format!("return {{{}}}", call.replace("(12345):", "('12345'):"));
        assert_eq!(shown(&script), result, "{call}");
    }
}

#[test]
fn all_matches_are_found() {
    for (script, result) in [
        (
            "for w in ('one two'):gmatch('%a+') do t[#t + 1] = w end",
            "['one' 'two']",
        ),
        (
            "for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k t[#t + 1] = v end",
            "['a' '1' 'b' '2']",
        ),
        ("for p in ('ab'):gmatch('()') do t[#t + 1] = p end", "[1 2 3]"),
        (
            "for w in string.gfind('ab', '.') do t[#t + 1] = w end",
            "['a' 'b']",
        ),
        (
            "local next = ('a'):gmatch('.') t[1] = next() t[2] = select('#', next()) t[3] = next()",
            "['a' 0]",
        ),
    ] {
        assert_eq!(
            shown(&format!("local t = {{}} {script} return t")),
            result,
            "{script}"
        );
    }
    assert_eq!(
        super::failure("local f = string.gmatch('x')"),
        "-ERR user_script:1: bad argument #2 to 'gmatch' (string expected, got no value)"
    );
}

#[test]
fn bits_are_those_of_the_nearest_integer() {
    let script = "return {bit.tobit(0xffffffff), bit.tohex(255), bit.tohex(255, -4), bit.tohex(-1, 100), bit.tohex(1, 0), bit.band(1, 3, '7'),
        bit.bor(1, 2, 4), bit.bxor(7, 2), bit.bnot(0), bit.lshift(1, 33), bit.rshift(-1, 28), bit.arshift(-8, 1), bit.rol(0x12345678, 8),
        bit.ror(0x12345678, 8), bit.bswap(0x12345678), bit.tobit(1.5), bit.tobit(2.5), bit.tobit(1e20)}";
    assert_eq!(
        shown(script),
        "[-1 '000000ff' '00FF' 'ffffffff' '' 1 7 5 -1 2 15 -4 878082066 2014458966 2018915346 2 2 2025163840]"
    );
    assert_eq!(
        super::failure("return bit.band('x')"),
        "-ERR user_script:1: bad argument #1 to 'band' (number expected, got string)"
    );
}
