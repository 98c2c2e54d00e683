use std::time::{Duration, Instant};

use super::{Scripting, database, eval, failure, show};
use crate::commands::Database;

fn limited(time_limit: Duration, memory_limit: usize) -> Database {
    let mut db = database();
    db.scripting = Some(Scripting {
        time_limit,
        memory_limit,
        engine: None,
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
        "local s = string.rep('a', 4e7) while true do string.upper(s) end",
        "local s = string.rep('A', 4e7) while true do string.lower(s) end",
        "local s = string.rep('a', 4e7) while true do string.reverse(s) end",
        "local s = string.rep('a', 2e7) while true do string.rep(s, 2) end",
    ] {
        limit_time(&mut db, Duration::from_millis(50));
        let error = eval(&mut db, script).expect_err(script);
        assert_eq!(error.code, "TIMEOUT", "{script}: {}", error.message);
        goes_on(&mut db);
    }
}

/// Without these limits scripts outlive their 5 s with the event loop stopped: `cjson.decode` of 64 MB takes up to 15 s. Loops in C and
/// passes over a long text are counted too. The bound of 10 s is far above the time that any of these scripts takes.
#[test]
fn no_function_of_a_library_outlives_the_time() {
    const BORDER_FAR_AWAY: &str =
        "local t = {} for k = 0, 29 do t[2^k] = 1 end while #t < 2^28 do t[#t + 1] = 1 end ";
    const LONG: &str = "local s = ('x'):rep(3e6) ";
    const LARGE: &str = "local t = {} for i = 1, 1e5 do t[i] = i % 1000 end ";
    let mut db = limited(Duration::from_millis(50), 256 << 20);
    for script in [
        "table.insert({}, -2147483648, 1)",
        &format!("{BORDER_FAR_AWAY} while true do table.insert(t, 1, 1) end"),
        &format!("{LARGE} while true do table.insert(t, 1, 1) end"),
        &format!("{LARGE} while true do table.remove(t, 1) end"),
        &format!("{LARGE} while true do table.sort(t) end"),
        &format!("{LARGE} while true do table.sort(t, rawequal) end"),
        &format!("{LARGE} while true do table.concat(t, ',') end"),
        &format!("{LARGE} while true do table.foreach(t, rawequal) end"),
        &format!("{LARGE} while true do table.foreachi(t, rawequal) end"),
        &format!("{LARGE} while true do table.maxn(t) end"),
        &format!("{LARGE} for i = 1, #t do t[i] = nil end while true do next(t) end"),
        "local set = '[' .. ('a'):rep(1e6) .. ']' while true do ('b'):rep(1e6):find(set) end",
        "local set = '[' .. ('a'):rep(1e6) .. ']*c' while true do ('b'):rep(1e6):find(set) end",
        "local set = '%f[' .. ('a'):rep(1e6) .. ']c' while true do ('b'):rep(1e6):find(set) end",
        "local s = ('x'):rep(1e6) while true do s:find('(.*)%1%1%1y') end",
        "local s, half = ('a'):rep(1e6), ('a'):rep(5e5) .. 'b' while true do s:find(half, 1, true) end",
        &format!("{LONG} while true do s:match('((((((((((.*))))))))))') end"),
        &format!("{LONG} while true do s:gsub('.', type) end"),
        &format!("{LONG} while true do s:upper() end"),
        &format!("{LONG} while true do s:reverse() end"),
        &format!("{LONG} while true do ('%q'):format(s) end"),
        &format!("{LONG} while true do redis.sha1hex(s) end"),
        &format!("{LONG} local other = s .. 'y' while true do local _ = s < other end"),
        &format!("{LONG} while true do local _ = s .. 'y' end"),
        "local s = ('1'):rep(3e6) while true do local _ = s + 1 end",
        "local s = ('1'):rep(3e6) while true do tonumber(s, 2) end",
        "local s = 'x' while true do s = 'x' for _ = 1, 22 do s = s .. s end s:upper() s:lower() s:reverse() end",
        "local s = (' '):rep(5e6) while true do pcall(cjson.decode, s) end",
        "local s = '\"' .. ('x'):rep(5e6) .. '\"' while true do cjson.decode(s) end",
        "local s = ('1'):rep(5e6) while true do cjson.decode(s) end",
        &format!("{LONG} while true do cjson.encode(s) end"),
    ] {
        limit_time(&mut db, Duration::from_millis(50));
        let started = Instant::now();
        let error = eval(&mut db, script).expect_err(script);
        assert_eq!(error.code, "TIMEOUT", "{script}: {}", error.message);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(10), "{script} took {took:?}");
        goes_on(&mut db);
    }
}

/// If each level of a nested `gsub` counts only the text that it builds itself, it holds 738 MB under a limit of 256 MB.
#[test]
fn functions_within_functions_share_the_memory() {
    let mut db = limited(Duration::from_secs(60), 64 << 20);
    let grow = "
        local function grow(left, s)
          return (s:gsub('^x', function() return left > 0 and grow(left - 1, s .. s:sub(1, 1e6)) or nil end))
        end
        return #grow(80, ('x'):rep(1e6))";
    let error = eval(&mut db, grow).unwrap_err();
    assert!(
        error.message.starts_with("ERR not enough memory"),
        "{}",
        error.message
    );
    goes_on(&mut db);
    // The memory that has been held is free again.
    let script = "for i = 1, 100 do ('x'):rep(1e6):gsub('x+', '%0%0') pcall(string.gsub, ('x'):rep(1e6), 'x', error) end return 1";
    assert_eq!(show(&eval(&mut db, script).unwrap()), "1");
}

/// If MGET copies each value, a script that asks for one key 7,000 times holds 7 GB.
#[test]
fn one_large_value_asked_for_many_times_is_not_copied_each_time() {
    let mut db = limited(Duration::from_secs(60), 8 << 20);
    let script = "
        redis.call('SET', 'k', ('x'):rep(1e6))
        local keys = {}
        for i = 1, 7000 do keys[i] = 'k' end
        return redis.call('MGET', unpack(keys))";
    let error = eval(&mut db, script).unwrap_err();
    assert!(
        error.message.starts_with("ERR not enough memory"),
        "{}",
        error.message
    );
}

#[test]
fn what_a_script_does_with_tables_is_what_lua_does() {
    for (script, shown) in [
        (
            "local t = {} table.insert(t, 'a') table.insert(t, 1, 'b') table.insert(t, 2, 'c') return t",
            "['b' 'c' 'a']",
        ),
        (
            "local t = {1} table.insert(t, 5, 'x') return {#t, t[5]}",
            "[1 'x']",
        ),
        (
            "local t = {1, 2} table.insert(t, 0, 'x') return {t[0], t[1] == nil and 'nil', t[2], t[3]}",
            "['x' 'nil' 1 2]",
        ),
        (
            "local t = {} for i = 1, 9000 do t[i] = i end table.insert(t, 1, 0) return {#t, t[1], t[2], t[9001]}",
            "[9001 0 1 9000]",
        ),
        (
            "local t = {} for i = 1, 9000 do t[i] = i end return {table.remove(t, 2), #t, t[2], t[8999]}",
            "[2 8999 3 9000]",
        ),
        (
            "local t = {1, 2, 3} return {table.remove(t), table.remove(t, 1), table.remove(t, 7) or 'none', #t}",
            "[3 1 'none' 1]",
        ),
        (
            "return {table.remove({}) or 'none', select('#', table.remove({}))}",
            "['none' 0]",
        ),
        (
            "local t = {} for i = 1, 9000 do t[i] = i end return #table.concat(t, ', ')",
            "52891",
        ),
        (
            "return {table.concat({}, ','), table.concat({1, 'a', 2.5}, '-'), table.concat({1, 2, 3, 4}, ',', 2, 3)}",
            "['' '1-a-2.5' '2,3']",
        ),
        ("local t = {3, 1, 2} table.sort(t) return t", "[1 2 3]"),
        (
            "local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t",
            "[3 2 1]",
        ),
        (
            "local keys = {} table.foreach({a = 1}, function(key) keys[1] = key end) return keys",
            "['a']",
        ),
        (
            "return table.foreachi({5, 6, 7}, function(i, value) if i == 2 then return value end end)",
            "6",
        ),
    ] {
        assert_eq!(failure(script), shown, "{script}");
    }
    for (script, text) in [
        (
            "table.insert({}, 1, 2, 3)",
            "user_script:1: wrong number of arguments to 'insert'",
        ),
        (
            "table.insert(nil, 1)",
            "user_script:1: bad argument #1 to 'insert' (table expected, got nil)",
        ),
        (
            "table.insert()",
            "user_script:1: bad argument #1 to 'insert' (table expected, got no value)",
        ),
        (
            "table.insert({}, 'x', 1)",
            "user_script:1: bad argument #2 to 'insert' (number expected, got string)",
        ),
        (
            "table.remove(1)",
            "user_script:1: bad argument #1 to 'remove' (table expected, got number)",
        ),
        (
            "table.concat({1, {}})",
            "user_script:1: invalid value (table) at index 2 in table for 'concat'",
        ),
        (
            "table.concat({}, {})",
            "user_script:1: bad argument #2 to 'concat' (string expected, got table)",
        ),
        ("table.sort({1, 'x'})", "attempt to compare string with number"),
        (
            "table.sort({1, 2}, 1)",
            "user_script:1: bad argument #2 to 'sort' (function expected, got number)",
        ),
        (
            "table.sort({1, 2, 3, 4, 5}, function() return true end)",
            "user_script:1: invalid order function for sorting",
        ),
        (
            "table.sort({1, 2}, function() error('mine') end)",
            "user_script:1: mine",
        ),
        ("table.sort({1, 2}, function() error({err = 'MINE'}) end)", "MINE"),
        (
            "table.foreach({}, 1)",
            "user_script:1: bad argument #2 to 'foreach' (function expected, got number)",
        ),
        (
            "table.foreachi()",
            "user_script:1: bad argument #1 to 'foreachi' (table expected, got no value)",
        ),
    ] {
        let shown = failure(script);
        let shown = shown
            .strip_prefix('-')
            .map(|shown| shown.strip_prefix("ERR ").unwrap_or(shown));
        assert_eq!(shown, Some(text), "{script}");
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
fn an_engine_that_has_grown_is_thrown_away() {
    let mut db = limited(Duration::from_secs(60), 8 << 20);
    let has_engine = |db: &Database| {
        db.scripting
            .as_ref()
            .is_some_and(|scripting| scripting.engine.is_some())
    };
    eval(&mut db, "return 1").unwrap();
    assert!(has_engine(&db));
    eval(
        &mut db,
        "local t = {} for i = 1, 4 do t[i] = ('x'):rep(1000000) end return #t",
    )
    .unwrap();
    assert!(!has_engine(&db));
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

/// Lua's own `unpack` counts in a C int. With these bounds the count overflows, and `unpack` writes past the end of the stack.
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
