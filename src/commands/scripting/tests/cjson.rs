use super::{failure, shown};

#[test]
fn values_are_encoded() {
    for (value, json) in [
        ("{}", "{}"),
        ("{{}, {a = {}}}", r#"[{},{"a":{}}]"#),
        (
            "{1, 2.5, -0.0, 1e15, 1/3, 3.0, 100000000000000}",
            "[1,2.5,-0,1e+15,0.33333333333333,3,1e+14]",
        ),
        ("{true, false, cjson.null}", "[true,false,null]"),
        ("nil", "null"),
        ("{[1] = 1, [2] = 2, [4] = 4}", "[1,2,null,4]"),
        ("{[10] = 1}", "[null,null,null,null,null,null,null,null,null,1]"),
        ("{[0] = 1}", r#"{"0":1}"#),
        ("{[1.5] = 1}", r#"{"1.5":1}"#),
        (
            r#""a/b\"\\\b\f\n\r\t\0\1\127\200""#,
            r#""a\/b\"\\\b\f\n\r\t\u0000\u0001\u007f\xc8""#,
        ),
    ] {
        let expected = format!(
            "'{}'",
            json.replace('\\', "\\\\")
                .replace("\\\\xc8", "\\xc8")
                .replace('"', "\\\"")
        );
        assert_eq!(
            shown(&format!("return cjson.encode({value})")),
            expected,
            "{value}"
        );
    }
}

#[test]
fn values_that_are_not_encoded() {
    for (value, text) in [
        ("1/0", "Cannot serialise number: must not be NaN or Inf"),
        ("{0/0}", "Cannot serialise number: must not be NaN or Inf"),
        ("function() end", "Cannot serialise function: type not supported"),
        ("{[11] = 1}", "Cannot serialise table: excessively sparse array"),
        (
            "{[true] = 1}",
            "Cannot serialise boolean: table key must be a number or string",
        ),
        ("", "bad argument #1 to 'encode' (expected 1 argument)"),
        ("1, 2", "bad argument #1 to 'encode' (expected 1 argument)"),
    ] {
        assert_eq!(
            failure(&format!("return cjson.encode({value})")),
            format!("-ERR user_script:1: {text}")
        );
    }
}

#[test]
fn json_is_decoded() {
    for (json, value) in [
        (
            r#"[1, 2.5, -3e2, "x", true, false, null, [], {}]"#,
            "[1,2.5,-300,\"x\",true,false,null,{},{}]",
        ),
        (r#" { "a" : { "b" : [ 1 ] } } "#, r#"{"a":{"b":[1]}}"#),
        ("12", "12"),
        ("+5", "5"),
        ("01", "1"),
        ("1.", "1"),
        ("-0", "-0"),
        (r#""\u00e9\ud83d\ude00\/\b""#, "\"\u{e9}\u{1f600}\\/\\b\""),
        ("\"a\nb\"", r#""a\nb""#),
        ("[1] \0 anything", "[1]"),
    ] {
        let script = "return cjson.encode(cjson.decode(ARGV[1]))";
        let mut db = super::database();
        let reply = super::run(&mut db, &["EVAL", script, "0", json]).expect(json);
        assert_eq!(reply, crate::reply::Reply::bulk(value.as_bytes()), "{json}");
    }
    assert_eq!(shown("return tostring(cjson.decode('[1e999]')[1])"), "'inf'");
    assert_eq!(shown("return tostring(cjson.decode('NaN'))"), "'nan'");
    assert_eq!(shown("return tostring(cjson.decode('-Infinity'))"), "'-inf'");
    assert_eq!(shown("return cjson.decode('null') == cjson.null"), "1");
    assert_eq!(shown("return cjson.decode('\"\\255\"')"), "'\\xff'");
    assert_eq!(shown("return #cjson.decode('[null,null]')"), "2");
}

#[test]
fn json_that_is_not() {
    for (json, text) in [
        ("", "Expected value but found T_END at character 1"),
        ("{", "Expected object key string but found T_END at character 2"),
        ("[1,]", "Expected value but found T_ARR_END at character 4"),
        (
            "[1 2]",
            "Expected comma or array end but found T_NUMBER at character 4",
        ),
        ("{\"a\" 1}", "Expected colon but found T_NUMBER at character 6"),
        (
            "{\"a\":1,}",
            "Expected object key string but found T_OBJ_END at character 8",
        ),
        (
            "{\"a\":1 \"b\"}",
            "Expected comma or object end but found T_STRING at character 8",
        ),
        ("1 2", "Expected the end but found T_NUMBER at character 3"),
        (
            "[true]x",
            "Expected the end but found invalid token at character 7",
        ),
        ("nul", "Expected value but found invalid token at character 1"),
        ("-", "Expected value but found invalid number at character 1"),
        (".5", "Expected value but found invalid token at character 1"),
        ("1e", "Expected the end but found invalid token at character 2"),
        (
            "\"abc",
            "Expected value but found unexpected end of string at character 5",
        ),
        (
            r#""a\\x""#,
            "Expected value but found invalid escape code at character 3",
        ),
        (
            r#""a\\u12""#,
            "Expected value but found invalid unicode escape code at character 3",
        ),
        (
            r#""\\ud83d""#,
            "Expected value but found invalid unicode escape code at character 2",
        ),
        (
            r#""\\ud83d\\u0041""#,
            "Expected value but found invalid unicode escape code at character 2",
        ),
        (
            r#""\\ude00""#,
            "Expected value but found invalid unicode escape code at character 2",
        ),
        ("[\\0", "JSON parser does not support UTF-16 or UTF-32"),
    ] {
        assert_eq!(
            failure(&format!("return cjson.decode('{json}')")),
            format!("-ERR user_script:1: {text}"),
            "{json}"
        );
    }
    assert_eq!(
        failure("return cjson.decode({})"),
        "-ERR user_script:1: bad argument #1 to 'decode' (string expected, got table)"
    );
    assert_eq!(
        failure("return cjson.decode('1', 2)"),
        "-ERR user_script:1: bad argument #1 to 'decode' (expected 1 argument)"
    );
}

#[test]
fn values_may_lie_a_thousand_deep() {
    let nested =
        |depth: usize| format!("local t = {{}} for i = 2, {depth} do t = {{t}} end return #cjson.encode(t)");
    assert_eq!(shown(&nested(1000)), "2000");
    assert_eq!(
        failure(&nested(1001)),
        "-ERR user_script:1: Cannot serialise, excessive nesting (1001)"
    );
    assert_eq!(
        failure("local t = {} t[1] = t return cjson.encode(t)"),
        "-ERR user_script:1: Cannot serialise, excessive nesting (1001)"
    );
    let decoded = |depth: usize, open: &str, close: &str| {
        format!("return type(cjson.decode(('{open}'):rep({depth}) .. '1' .. ('{close}'):rep({depth})))")
    };
    assert_eq!(shown(&decoded(1000, "[", "]")), "'table'");
    assert_eq!(
        failure(&decoded(1001, "[", "]")),
        "-ERR user_script:1: Found too many nested data structures (1001) at character 1001"
    );
    assert_eq!(
        failure(&decoded(1001, "{\"a\":", "}")),
        "-ERR user_script:1: Found too many nested data structures (1001) at character 5001"
    );
}
