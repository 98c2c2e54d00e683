use std::time::Duration;

use super::{Scripting, database, eval, failure, show};
use crate::commands::Database;

fn limited(time_limit: Duration, memory_limit: usize) -> Database {
    let mut db = database();
    db.scripting = Some(Scripting {
        time_limit,
        memory_limit,
        machine: None,
    });
    db
}

fn limit_time(db: &mut Database, limit: Duration) {
    db.scripting.as_mut().expect("scripts have run").time_limit = limit;
}

fn goes_on(db: &mut Database) {
    limit_time(db, Duration::from_secs(60));
    let script = "local t = {} for i = 1, 100 do t[i] = redis.call('INCR', 'n') end return #t";
    assert_eq!(show(&eval(db, script).unwrap()), "100");
}

#[test]
fn no_script_outlives_its_time() {
    let mut db = limited(Duration::from_millis(50), 256 << 20);
    for script in [
        "while true do end",
        "repeat until false",
        "while true do pcall(function() while true do end end) end",
        "local f = function() while true do end end while true do pcall(f) end",
        "local f f = function() while true do pcall(f) end end f()",
        "pcall(function() while true do end end) return 'escaped'",
        "xpcall(function() while true do end end, function() while true do end end)",
        "xpcall(function() error('x') end, function() while true do end end)",
        "xpcall(function() while true do end end, function() return 1 end) return 'escaped'",
        "while true do redis.call('PING') end",
        "while true do redis.pcall('BOGUS') end",
        "while true do pcall(redis.call, 'BOGUS') end",
        "while true do pcall(error) end",
        "table.sort({1, 2, 3}, function() while true do end end)",
        "('x'):gsub('x', function() while true do end end)",
        "while true do pcall(string.gsub, 'x', 'x', function() while true do end end) end",
        "return tostring(setmetatable({}, {__tostring = function() while true do end end}))",
        "error(setmetatable({}, {__tostring = function() while true do end end, __index = function() while true do end end}).x)",
        "return setmetatable({}, {__index = function() while true do end end}).x",
        "while true do string.rep('', 2^31 - 1) end",
        "return string.find(('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30))",
        "return string.find(('a'):rep(3000), ('a*'):rep(100) .. 'b')",
        "return string.gsub(('a'):rep(100000), '.-.-.-.-b', '')",
        "for _ in string.gmatch(('a'):rep(100000), '.-.-.-.-b') do end",
        "local t = {} for i = 1, 60 do t = {t, t} end return t",
        "local t = {} for i = 1, 60 do t = {t, t} end return cjson.encode(t)",
        "while true do pcall(cjson.decode, 'x') end",
    ] {
        limit_time(&mut db, Duration::from_millis(50));
        let error = eval(&mut db, script).expect_err(script);
        assert_eq!(error.code, "TIMEOUT", "{script}: {}", error.message);
        goes_on(&mut db);
    }
}

#[test]
fn what_a_stopped_script_had_written_stays() {
    let mut db = limited(Duration::from_millis(50), 256 << 20);
    eval(&mut db, "redis.call('SET', 'k', 'v') while true do end").unwrap_err();
    goes_on(&mut db);
    assert_eq!(
        show(&eval(&mut db, "return redis.call('GET', 'k')").unwrap()),
        "'v'"
    );
}

#[test]
fn no_script_takes_all_memory() {
    let mut db = limited(Duration::from_secs(60), 8 << 20);
    for script in [
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = {t} end",
        "return ('x'):rep(1e9)",
        "return ('x'):rep(1e308)",
        "return (('x'):rep(1000000):gsub('.', ('x'):rep(1000)))",
        "return (('x'):rep(100000):gsub('.*', ('%0'):rep(100000)))",
        "return table.concat({('x'):rep(3000000), ('y'):rep(3000000)})",
        "local t, s = {}, ('x'):rep(1000000) for i = 1, 100 do t[i] = s end return cjson.encode(t)",
        "local t, s = {}, ('x'):rep(1000000) for i = 1, 100 do t[i] = s end return t",
        "return cjson.decode('[' .. ('{},'):rep(200000) .. '1]')",
        "local ok, e = pcall(function() local t = {} while true do t[#t + 1] = {} end end) error(e, 0)",
        "redis.call('SET', 'k', ('x'):rep(1000000)) local t = {} while true do t[#t + 1] = redis.call('GET', 'k') .. #t end",
    ] {
        let error = eval(&mut db, script).expect_err(script);
        assert_eq!(error.code, "ERR", "{script}");
        assert!(
            error.message.starts_with("ERR not enough memory"),
            "{script}: {}",
            error.message
        );
        goes_on(&mut db);
    }
}

#[test]
fn a_machine_that_has_grown_is_thrown_away() {
    let mut db = limited(Duration::from_secs(60), 8 << 20);
    let has_machine = |db: &Database| {
        db.scripting
            .as_ref()
            .is_some_and(|scripting| scripting.machine.is_some())
    };
    eval(&mut db, "return 1").unwrap();
    assert!(has_machine(&db));
    eval(&mut db, "return #('x'):rep(2000000)").unwrap();
    assert!(!has_machine(&db));
    goes_on(&mut db);
}

#[test]
fn deep_recursion_ends_with_an_error() {
    for (script, text) in [
        (
            "local function f() return 1 + f() end return f()",
            "-ERR user_script:1: stack overflow",
        ),
        (
            "local function f() return (('a'):gsub('a', f)) end return f()",
            "-ERR C stack overflow",
        ),
        (
            "local t t = setmetatable({}, {__index = function(_, k) return t[k + 1] end}) return t[1]",
            "-ERR user_script:1: C stack overflow",
        ),
        (
            "return unpack({}, 1, 7901)",
            "-ERR user_script:1: too many results to unpack",
        ),
        (
            "return ('x'):rep(1000):find(('x?'):rep(100000))",
            "-ERR user_script:1: pattern too complex",
        ),
    ] {
        assert_eq!(failure(script), text, "{script}");
    }
}

/// Lua's own `unpack` counts in C's int: with these bounds its count overflows, and it wrote past the end of its stack.
#[test]
fn unpack_survives_bounds_that_overflow() {
    for bounds in [
        "-2147483647, 2147483647",
        "-2^31, 2^31 - 1",
        "-1e300, 1e300",
        "1, 1/0",
    ] {
        assert_eq!(
            failure(&format!("return unpack({{}}, {bounds})")),
            "-ERR user_script:1: too many results to unpack"
        );
    }
    assert_eq!(failure("return {unpack({1, 2, 3}, 2)}"), "[2 3]");
    assert_eq!(failure("return {unpack({1, 2, 3}, 3, 2)}"), "[]");
}
