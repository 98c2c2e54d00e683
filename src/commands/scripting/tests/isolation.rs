use super::{database, eval, failure, show, shown};

#[test]
fn globals_are_read_only_and_known() {
    let readonly = "-ERR user_script:1: Attempt to modify a readonly table";
    for place in "x KEYS _G.x string.foo redis.call cjson.x bit.x math.pi table.x".split(' ') {
        assert_eq!(failure(&format!("{place} = 1")), readonly, "{place}");
    }
    assert_eq!(failure("function f() end"), readonly);
    let unknown = "-ERR user_script:1: Script attempted to access nonexistent global variable";
    let absent = "x os io load loadstring loadfile dofile collectgarbage getfenv setfenv require module newproxy print gcinfo debug \
                  coroutine package";
    for name in absent.split_whitespace() {
        assert_eq!(failure(&format!("return {name}")), format!("{unknown} '{name}'"));
    }
    assert_eq!(
        shown("return {string.dump == nil, ('').dump == nil, redis.nope == nil}"),
        "[1 1 1]"
    );
    assert_eq!(
        shown("return {getmetatable('') == false, getmetatable(_G) == false}"),
        "[1 1]"
    );
}

#[test]
fn what_lua_and_redis_have_is_there() {
    let script = "
        local missing = {}
        for name, fields in pairs({
          _G = 'assert error getmetatable ipairs next pairs pcall rawequal rawget rawset select setmetatable tonumber tostring type '
            .. 'unpack xpcall _VERSION',
          string = 'byte char find format gfind gmatch gsub len lower match rep reverse sub upper',
          table = 'concat foreach foreachi getn insert maxn remove setn sort',
          math = 'abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad '
            .. 'random randomseed sin sinh sqrt tan tanh',
          bit = 'arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex',
          cjson = 'decode encode null',
          redis = 'call pcall error_reply status_reply sha1hex log replicate_commands LOG_DEBUG LOG_VERBOSE LOG_NOTICE LOG_WARNING',
        }) do
          for field in string.gmatch(fields, '%S+') do
            if _G[name][field] == nil then missing[#missing + 1] = name .. '.' .. field end
          end
        end
        return missing";
    assert_eq!(shown(script), "[]");
}

/// Each script tries to leave something behind that the script `LOOK` would find.
const LEAKS: [&str; 22] = [
    "rawset(_G, 'leak', 1)",
    "rawset(string, 'leak', 1) rawset(string, 'upper', function() return 'leak' end)",
    "rawset(redis, 'leak', 1) rawset(redis, 'call', function() return 'leak' end)",
    "rawset(cjson, 'leak', 1) rawset(cjson, 'encode', function() return 'leak' end)",
    "rawset(math, 'leak', 1) rawset(table, 'leak', 1) rawset(bit, 'leak', 1)",
    "table.insert(string, 'leak') table.insert(redis, 'leak') table.insert(_G, 'leak') table.insert(math, 'leak')",
    "pcall(function() getmetatable('').__index.leak = 1 end)",
    "pcall(rawset, getmetatable(''), '__index', {leak = 1})",
    "pcall(setmetatable, _G, {__index = {leak = 1}})",
    "pcall(setmetatable, string, {__index = {leak = 1}})",
    "pcall(setmetatable, '', {__index = {leak = 1}})",
    "pcall(setmetatable, redis, nil)",
    "pcall(rawset, getmetatable(_G) or {}, '__index', {leak = 1})",
    "pcall(rawset, getmetatable(cjson) or {}, '__newindex', false)",
    "KEYS[1] = 'leak' ARGV[1] = 'leak' KEYS.leak = 1",
    "rawset(_G, 'KEYS', {'leak'}) rawset(_G, 'ARGV', {'leak'}) rawset(_G, 'redis', 1) rawset(_G, 'pairs', 1)",
    "pcall(function() for k in pairs(redis) do rawset(redis, k, 'leak') end end)",
    "local reply = redis.call('PING') reply.ok = 'leak' reply.leak = 1",
    "pcall(string.gsub, 'x', 'x', function() rawset(_G, 'leak', 1) error('x') end)",
    "local t = {} t[_G] = 1 t[redis.call] = 2 setmetatable(t, {__mode = 'k'}) error(t)",
    "math.randomseed(7)",
    "rawset(_G, 'leak', 1) redis.call('BOGUS')",
];

const LOOK: &str = "
    local found = {}
    local function look(name, value) if value ~= nil then found[#found + 1] = name end end
    for _, name in ipairs({'string', 'redis', 'cjson', 'math', 'table', 'bit', 'KEYS', 'ARGV'}) do
      look(name, _G[name].leak) look(name, rawget(_G[name], 'leak')) look(name .. '[1]', _G[name][1])
    end
    look('_G', rawget(_G, 'leak')) look('_G[1]', rawget(_G, 1)) look('text', (''):find('') == nil or nil) look('text', ('').leak)
    look('upper', ('x'):upper() ~= 'X' or nil) look('encode', cjson.encode({1}) ~= '[1]' or nil)
    look('call', redis.call('PING').ok ~= 'PONG' or nil) look('reply', redis.call('PING').leak)
    look('pairs', type(pairs) ~= 'function' or nil) look('known', pcall(function() return leak end) or nil)
    look('writable', pcall(function() leak = 1 end) or nil)
    math.randomseed(7) look('random', tostring(math.random()) ~= '0.26644419658298' or nil)
    return found";

#[test]
fn nothing_leaks_from_script_to_script() {
    for leak in LEAKS {
        let mut db = database();
        let _ = eval(&mut db, leak);
        assert_eq!(show(&eval(&mut db, LOOK).unwrap()), "[]", "{leak}");
    }
}

#[test]
fn nothing_leaks_into_the_next_run_of_the_same_script() {
    let mut db = database();
    let script = "
        local before = rawget(_G, 'count')
        rawset(_G, 'count', (before or 0) + 1)
        local t = {f = function() return count end}
        return {before or 'none', t.f()}";
    for _ in 0..3 {
        assert_eq!(show(&eval(&mut db, script).unwrap()), "['none' 1]");
    }
}

#[test]
fn random_numbers_tell_nothing_of_another_script() {
    let mut db = database();
    let mut draw = || show(&eval(&mut db, "return tostring(math.random())").unwrap());
    assert_ne!(draw(), draw());
    // The numbers are those of Redis.
    assert_eq!(
        shown("math.randomseed(7) return {tostring(math.random()), math.random(10), math.random(5, 8)}"),
        "['0.26644419658298' 7 6]"
    );
    for (script, text) in [
        (
            "math.random(0)",
            "-ERR user_script:1: bad argument #1 to 'random' (interval is empty)",
        ),
        (
            "math.random(5, 1)",
            "-ERR user_script:1: bad argument #2 to 'random' (interval is empty)",
        ),
        (
            "math.random(1, 2, 3)",
            "-ERR user_script:1: wrong number of arguments",
        ),
    ] {
        assert_eq!(failure(script), text);
    }
}

#[test]
fn scripts_are_cached_within_bounds() {
    let mut db = database();
    for number in 0..2500 {
        assert_eq!(
            show(&eval(&mut db, &format!("return {number}")).unwrap()),
            number.to_string()
        );
    }
    let engine = db
        .scripting
        .and_then(|scripting| scripting.engine)
        .expect("an engine");
    assert_eq!(engine.cached(), 500);
}

#[test]
fn a_nested_script_is_refused_and_the_outer_goes_on() {
    let mut db = database();
    let script = "redis.pcall('EVAL', 'return 1', 0) return redis.call('INCR', 'n')";
    assert_eq!(show(&eval(&mut db, script).unwrap()), "1");
    assert_eq!(show(&eval(&mut db, script).unwrap()), "2");
}
