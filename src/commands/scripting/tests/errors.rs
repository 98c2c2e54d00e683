use super::{database, eval, failure, run, shown};
use crate::error::Error;

#[test]
fn the_number_of_keys_is_checked() {
    let mut db = database();
    for (count, text) in [
        ("a", "ERR value is not an integer or out of range"),
        ("1.0", "ERR value is not an integer or out of range"),
        (
            "99999999999999999999",
            "ERR value is not an integer or out of range",
        ),
        ("-1", "ERR Number of keys can't be negative"),
        ("-9223372036854775808", "ERR Number of keys can't be negative"),
        ("2", "ERR Number of keys can't be greater than number of args"),
        (
            "9223372036854775807",
            "ERR Number of keys can't be greater than number of args",
        ),
    ] {
        assert_eq!(
            run(&mut db, &["EVAL", "return 1", count, "word"]),
            Err(Error::reply(text))
        );
    }
    assert_eq!(
        run(&mut db, &["EVAL", "return 1"]),
        Err(Error::reply("ERR wrong number of arguments for 'eval' command"))
    );
}

#[test]
fn errors_name_the_script_and_the_line() {
    for (script, text) in [
        (
            "return redis.call('bogus')",
            "-ERR Unknown Redis command called from script script: 1a8966162f9fd86b664322be500594c7f5e30a4f, on @user_script:1.",
        ),
        (
            "\nlocal a = 1\nerror(\"line3\")",
            "-ERR user_script:3: line3 script: 55ab3a2a0a9f50987fa262d1f6bbf3ea177a0880, on @user_script:3.",
        ),
        (
            "local a = nil; return a.b",
            "-ERR user_script:1: attempt to index local 'a' (a nil value) script: \
             a4f98b90454ae717765b45eb6f71312d37f994c6, on @user_script:1.",
        ),
        (
            "return 1 +",
            "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
        ),
        (
            "\x1bLua",
            "-ERR Error compiling script (new function): attempt to load a binary chunk (mode is 't')",
        ),
    ] {
        assert_eq!(shown(script), text, "{script}");
    }
}

#[test]
fn whatever_is_raised_ends_as_a_text() {
    for (script, text) in [
        ("error('x')", "-ERR user_script:1: x"),
        ("error('x', 0)", "-ERR x"),
        ("error('a\\r\\nb', 0)", "-ERR a  b"),
        ("error()", "-ERR nil"),
        ("error(true)", "-ERR true"),
        ("error(12)", "-ERR user_script:1: 12"),
        ("error({err = 'MY text'})", "-MY text"),
        ("error({})", "-ERR unknown error"),
        (
            "error(redis.pcall('bogus'))",
            "-ERR Unknown Redis command called from script",
        ),
        (
            "local function f() error('deep', 2) end\nf()",
            "-ERR user_script:2: deep",
        ),
        (
            "table.sort({3, 2, 1}, function() error('in C') end)",
            "-ERR user_script:1: in C",
        ),
        (
            "string.gsub('x', 'x', function() error('in Rust') end)",
            "-ERR user_script:1: in Rust",
        ),
        (
            "string.gsub('x', 'x', function() error({err = 'MY text'}) end)",
            "-MY text",
        ),
        (
            "string.gsub('x', 'x', setmetatable({}, {__index = function() error('in Rust') end}))",
            "-ERR user_script:1: in Rust",
        ),
        (
            "string.gsub('x', 'x', setmetatable({}, {__index = function() error({err = 'MY text'}) end}))",
            "-MY text",
        ),
        (
            "string.gsub('x', 'x', function() redis.call('bogus') end)",
            "-ERR Unknown Redis command called from script",
        ),
        (
            "local function f() return 1 + f() end return f()",
            "-ERR user_script:1: stack overflow",
        ),
        (
            "return ('x'):rep(1, 2):bad()",
            "-ERR user_script:1: attempt to call method 'bad' (a nil value)",
        ),
        (
            "return ('x'):rep()",
            "-ERR user_script:1: bad argument #1 to 'rep' (number expected, got no value)",
        ),
        (
            "return string.rep('x', {})",
            "-ERR user_script:1: bad argument #2 to 'rep' (number expected, got table)",
        ),
    ] {
        assert_eq!(failure(script), text, "{script}");
    }
}

#[test]
fn the_code_of_an_error_is_its_first_word() {
    let mut db = database();
    run(&mut db, &["SET", "k", "text"]).unwrap();
    let error = eval(&mut db, "return redis.call('LPUSH', 'k', 'x')").unwrap_err();
    assert_eq!(error.code, "WRONGTYPE");
    assert!(
        error
            .message
            .starts_with("WRONGTYPE Operation against a key holding the wrong kind of value script: ")
    );
    let error = eval(&mut db, "return redis.error_reply('MINE it is')").unwrap_err();
    assert_eq!((&*error.code, &*error.message), ("MINE", "MINE it is"));
}

#[test]
fn calls_that_are_refused() {
    for (call, text) in [
        (
            "()",
            "ERR Please specify at least one argument for this redis lib call",
        ),
        (
            "({})",
            "ERR Lua redis lib command arguments must be strings or integers",
        ),
        (
            "('GET', true)",
            "ERR Lua redis lib command arguments must be strings or integers",
        ),
        (
            "('GET', nil)",
            "ERR Lua redis lib command arguments must be strings or integers",
        ),
        (
            "('GET')",
            "ERR Wrong number of args calling Redis command from script",
        ),
        (
            "('INCR', 'k', 'x')",
            "ERR Wrong number of args calling Redis command from script",
        ),
        ("('bogus')", "ERR Unknown Redis command called from script"),
        (
            "('eval', 'return 1', 0)",
            "ERR This Redis command is not allowed from script",
        ),
        (
            "('EXPIRE', 'k', 'x')",
            "ERR value is not an integer or out of range",
        ),
    ] {
        assert_eq!(failure(&format!("return redis.call{call}")), format!("-{text}"));
        assert_eq!(shown(&format!("return redis.pcall{call}")), format!("-{text}"));
        assert_eq!(
            shown(&format!("return redis.pcall{call}.err")),
            format!("'{text}'")
        );
    }
}

#[test]
fn what_was_caught_keeps_its_text() {
    let unknown = "ERR Unknown Redis command called from script";
    for (script, text) in [
        (
            "local ok, e = pcall(redis.call, 'bogus') return {tostring(ok), type(e), e}",
            format!("['false' 'string' '{unknown}']"),
        ),
        (
            "local ok, e = pcall(redis.call, 'bogus') return redis.error_reply(e)",
            format!("-{unknown}"),
        ),
        (
            "local ok, e = pcall(redis.call, 'bogus') error(e, 0)",
            format!("-ERR {unknown}"),
        ),
        (
            "local ok, e = xpcall(function() redis.call('bogus') end, function(e) return e end) error(e)",
            format!("-{unknown}"),
        ),
        (
            "local ok, e = pcall(function() error({1}) end) return e",
            "[1]".to_owned(),
        ),
        (
            "local ok, e = pcall(error, {err = 'MY text'}) return {type(e), e}",
            "['string' 'MY text']".to_owned(),
        ),
        ("return {pcall(function() return 1, 2 end)}", "[1 1 2]".to_owned()),
        (
            "return {xpcall(function() return 1, 2 end, error)}",
            "[1 1 2]".to_owned(),
        ),
        (
            "return {select(2, xpcall(function() error('a') end, function(e) return {e, 'h'} end))}",
            "[['user_script:1: a' 'h']]".to_owned(),
        ),
        (
            "return {select(2, xpcall(function() error('a') end, function() error('b') end))}",
            "['error in error handling']".to_owned(),
        ),
        (
            "return {select(2, xpcall(error, nil))}",
            "['error in error handling']".to_owned(),
        ),
        (
            "local ok, e = pcall(string.gsub, 'x', 'x', function() error({1}) end) return e",
            "[1]".to_owned(),
        ),
        (
            "local f f = function() local ok, e = pcall(f) return e end return f()",
            "'C stack overflow'".to_owned(),
        ),
    ] {
        assert_eq!(failure(script), text, "{script}");
    }
}

#[test]
fn replies_that_a_script_makes() {
    for (script, reply) in [
        ("error_reply('MY text')", "-MY text"),
        ("error_reply('-MY text')", "-MY text"),
        ("error_reply('text')", "-ERR text"),
        ("error_reply('-text')", "-ERR text"),
        ("error_reply('')", "-ERR "),
        ("error_reply('a\\r\\nb c\\n')", "-a  b c"),
        ("error_reply()", "-ERR wrong number or type of arguments"),
        ("error_reply(1)", "-ERR wrong number or type of arguments"),
        ("status_reply()", "-ERR wrong number or type of arguments"),
        ("sha1hex('')", "'da39a3ee5e6b4b0d3255bfef95601890afd80709'"),
        ("sha1hex(12)", "'7b52009b64fd0a2a49e6d8a939753077792b0554'"),
        ("replicate_commands()", "1"),
        ("log(redis.LOG_WARNING, 'dropped')", "nil"),
        ("nope", "nil"),
    ] {
        assert_eq!(shown(&format!("return redis.{script}")), reply, "{script}");
    }
    assert_eq!(
        failure("return redis.sha1hex()"),
        "-ERR wrong number of arguments"
    );
    assert_eq!(
        failure("return redis.log()"),
        "-ERR redis.log() requires two arguments or more."
    );
    assert_eq!(failure("return redis.log(9, 'x')"), "-ERR Invalid debug level.");
}
