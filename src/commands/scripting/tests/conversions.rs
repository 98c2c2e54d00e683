use super::{database, run, show, shown};
use crate::error::Error;
use crate::reply::Reply;

#[test]
fn replies_become_values_of_lua() {
    let kinds = "
        local kinds = {}
        for _, command in ipairs({{'SET', 'k', 'v'}, {'GET', 'k'}, {'GET', 'none'}, {'INCR', 'n'}, {'MGET', 'k', 'none'},
                                  {'ZADD', 'z', 0.1, 'm'}, {'ZSCORE', 'z', 'm'}, {'TYPE', 'k'}}) do
          local reply = redis.call(unpack(command))
          kinds[#kinds + 1] = type(reply) == 'table' and (reply.ok or reply[1] .. ' ' .. tostring(reply[2])) or type(reply) .. ' ' .. tostring(reply)
        end
        return kinds";
    assert_eq!(
        shown(kinds),
        "['OK' 'string v' 'boolean false' 'number 1' 'v false' 'number 1' 'string 0.10000000000000001' 'string']"
    );
}

#[test]
fn values_of_lua_become_replies() {
    for (script, reply) in [
        ("return 3.99", "3"),
        ("return -3.99", "-3"),
        ("return 0/0", "-9223372036854775808"),
        ("return 1e300", "-9223372036854775808"),
        ("return 2^53", "9007199254740992"),
        ("return 'text'", "'text'"),
        ("return 'a\\0\\255'", "'a\\x00\\xff'"),
        ("return true", "1"),
        ("return false", "nil"),
        ("return nil", "nil"),
        ("return", "nil"),
        ("", "nil"),
        ("return 1, 2", "1"),
        (
            "return print",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'print'",
        ),
        ("return function() end", "nil"),
        ("return {function() end, cjson.null, 1}", "[nil nil 1]"),
        ("return {}", "[]"),
        (
            "return {1, 'two', {3, {}}, true, false, 6}",
            "[1 'two' [3 []] 1 nil 6]",
        ),
        ("return {1, nil, 3}", "[1]"),
        ("return {[2] = 2}", "[]"),
        ("return {x = 1}", "[]"),
        ("return {ok = 'FINE'}", "+FINE"),
        ("return {ok = 'a\\r\\nb', 1}", "+a  b"),
        ("return {ok = 1}", "[]"),
        ("return {err = 'MY text'}", "-MY text"),
        ("return {err = 'x', ok = 'y'}", "-x"),
        (
            "return {1, {err = 'MY text'}, {ok = 'FINE'}}",
            "[1 -MY text +FINE]",
        ),
        (
            "return setmetatable({}, {__index = function() return 1 end})",
            "[]",
        ),
        ("return redis.status_reply('FINE')", "+FINE"),
        ("return redis.error_reply('MY text')", "-MY text"),
    ] {
        let shown = shown(script);
        assert_eq!(shown.split(" script: ").next(), Some(reply), "{script}");
    }
}

#[test]
fn an_error_in_an_array_stays_in_its_place() {
    let mut db = database();
    let script = "return {redis.pcall('BOGUS'), redis.call('PING')}";
    let expected = Error::reply("ERR Unknown Redis command called from script");
    assert_eq!(
        run(&mut db, &["EVAL", script, "0"]),
        Ok(Reply::Array(vec![
            Reply::Error(expected),
            Reply::Status("PONG".into())
        ]))
    );
}

#[test]
fn numbers_are_written_into_commands_as_by_redis() {
    for (number, text) in [
        ("1", "1"),
        ("-7", "-7"),
        ("1.5", "1.5"),
        ("0.1", "0.10000000000000001"),
        ("2^53", "9007199254740992"),
        ("12345678901234567", "12345678901234568"),
        ("1e17", "1e+17"),
        ("1e-7", "9.9999999999999995e-08"),
        ("-0.0", "-0"),
        ("1/0", "inf"),
    ] {
        assert_eq!(
            shown(&format!("return redis.call('ECHO', {number})")),
            format!("'{text}'")
        );
    }
}

#[test]
fn keys_and_arguments_are_bytes() {
    let mut db = database();
    let words: [&[u8]; 5] = [
        b"return {#KEYS, #ARGV, KEYS[1], ARGV[1], ARGV[2]}",
        b"1",
        b"\xff\0",
        b"",
        b"\xc3",
    ];
    let index = crate::commands::index_of(b"eval").expect("a command");
    let reply = db.execute(crate::commands::COMMANDS[index], &words).unwrap();
    assert_eq!(show(&reply), "[1 2 '\\xff\\x00' '' '\\xc3']");
}

#[test]
fn as_many_arguments_as_unpack_gives_reach_a_command() {
    let script = "
        local keys = {}
        for i = 1, 7900 do keys[i] = 'key' .. i end
        return redis.call('DEL', unpack(keys))";
    assert_eq!(shown(script), "0");
}

#[test]
fn a_table_may_not_lie_too_deep() {
    let nested = |depth: usize| format!("local t = {{}} for i = 2, {depth} do t = {{t}} end return t");
    assert!(shown(&nested(1000)).starts_with("[[["));
    for script in [
        &nested(1001),
        "local t = {} t[1] = t return t",
        "local a, b = {}, {} a[1] = b b[1] = a return {1, a}",
    ] {
        assert_eq!(shown(script), "-ERR reached lua stack limit");
    }
}
