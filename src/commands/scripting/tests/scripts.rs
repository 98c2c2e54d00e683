//! Scripts of users, unchanged.

use super::{database, run, show};
use crate::commands::Database;

const RELEASE: &str = r#"
if redis.call("get",KEYS[1]) == ARGV[1] then
    return redis.call("del",KEYS[1])
else
    return 0
end
"#;

fn release(db: &mut Database, token: &str) -> String {
    show(&run(db, &["EVAL", RELEASE, "1", "lock", token]).expect("a reply"))
}

#[test]
fn a_lock_is_released_by_its_owner_only() {
    let mut db = database();
    assert_eq!(release(&mut db, "mine"), "0");
    run(&mut db, &["SET", "lock", "mine", "NX", "PX", "30000"]).unwrap();
    assert_eq!(release(&mut db, "yours"), "0");
    assert_eq!(show(&run(&mut db, &["GET", "lock"]).unwrap()), "'mine'");
    assert_eq!(release(&mut db, "mine"), "1");
    assert_eq!(show(&run(&mut db, &["EXISTS", "lock"]).unwrap()), "0");
}

const TOKEN_BUCKET: &str = r#"
local tokens_key = KEYS[1]
local rate = tonumber(ARGV[1])
local capacity = tonumber(ARGV[2])
local now = tonumber(ARGV[3])
local requested = tonumber(ARGV[4])

local bucket = redis.call("HMGET", tokens_key, "tokens", "refreshed")
local last_tokens = tonumber(bucket[1])
if last_tokens == nil then
  last_tokens = capacity
end
local last_refreshed = tonumber(bucket[2])
if last_refreshed == nil then
  last_refreshed = 0
end

local delta = math.max(0, now - last_refreshed)
local filled_tokens = math.min(capacity, last_tokens + (delta * rate))
local allowed = filled_tokens >= requested
local new_tokens = filled_tokens
if allowed then
  new_tokens = filled_tokens - requested
end

redis.call("HMSET", tokens_key, "tokens", new_tokens, "refreshed", now)
redis.call("EXPIRE", tokens_key, math.floor(capacity / rate * 2))

return { allowed and 1 or 0, tostring(new_tokens) }
"#;

#[test]
fn a_token_bucket_empties_and_fills_again() {
    let mut db = database();
    let mut take = |now: &str, tokens: &str| {
        let words = ["EVAL", TOKEN_BUCKET, "1", "bucket", "0.5", "10", now, tokens];
        show(&run(&mut db, &words).expect("a reply"))
    };
    assert_eq!(take("100", "4"), "[1 '6']");
    assert_eq!(take("100", "6"), "[1 '0']");
    assert_eq!(take("100", "1"), "[0 '0']");
    assert_eq!(take("101", "1"), "[0 '0.5']");
    assert_eq!(take("102", "1"), "[1 '0']");
    assert_eq!(take("1000", "1"), "[1 '9']");
    assert_eq!(show(&run(&mut db, &["TTL", "bucket"]).unwrap()), "40");
}

const BUCKET_WITH_TIME: &str = r#"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'now', now)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local later = redis.call('TIME')
return { now > 1600000000000, time[1] == later[1] and time[2] == later[2], redis.call('PTTL', KEYS[1]) }
"#;

#[test]
fn time_stands_still_in_a_script() {
    let mut db = database();
    let reply = run(&mut db, &["EVAL", BUCKET_WITH_TIME, "1", "bucket", "5000"]).unwrap();
    assert_eq!(show(&reply), "[1 1 5000]");
}

#[test]
fn the_flags_of_redis_7_are_read() {
    assert_eq!(super::shown("#!lua flags=no-writes,allow-stale\nreturn 1"), "1");
    assert_eq!(super::shown("#!lua name=x"), "-ERR Invalid script shebang");
    assert_eq!(
        super::shown("#!lua name=x\n"),
        "-ERR Unknown lua shebang option: name=x"
    );
    assert_eq!(
        super::failure("#!lua flags=no-writes\nreturn redis.call('SET', 'k', 'v')"),
        "-ERR Write commands are not allowed from read-only scripts."
    );
    assert_eq!(super::failure("#!lua\nerror('x')"), "-ERR user_script:2: x");
}

#[test]
fn a_message_published_by_a_script_has_no_receivers_here() {
    assert_eq!(
        super::shown("return redis.call('PUBLISH', 'channel', 'message')"),
        "0"
    );
}
