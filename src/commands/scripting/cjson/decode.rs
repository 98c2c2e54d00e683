//! Converts JSON to Lua values: as lenient as lua-cjson, and with its errors.

use memchr::memchr3;
use mlua::{Lua, LuaString, Result, Table, Value};

use super::super::arguments::LuaArguments;
use super::super::limits::{LuaText, Meter};
use super::super::raise;
use super::settings::CjsonSettings;
use super::{DEEPEST, only};

pub fn decode(lua: &Lua, args: &LuaArguments, settings: &CjsonSettings) -> Result<Value> {
    only(args)?;
    let json = args.string(1)?;
    let json = json.as_bytes();
    if json.len() >= 2 && (json[0] == 0 || json[1] == 0) {
        return Err(raise::text(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder {
        lua,
        settings,
        meter: Meter::new(lua),
        json: &json,
        at: 0,
    };
    let value = decoder.document()?;
    match decoder.next()? {
        (_, JsonToken::End) => Ok(value),
        other => Err(decoder.unexpected("the end", &other)),
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    settings: &'a CjsonSettings,
    meter: Meter<'a>,
    json: &'a [u8],
    at: usize,
}

enum JsonToken {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Colon,
    Comma,
    String(LuaString),
    Number(f64),
    Boolean(bool),
    Null,
    End,
    Invalid(&'static str),
}

impl JsonToken {
    fn name(&self) -> &'static str {
        match self {
            JsonToken::ObjectBegin => "T_OBJ_BEGIN",
            JsonToken::ObjectEnd => "T_OBJ_END",
            JsonToken::ArrayBegin => "T_ARR_BEGIN",
            JsonToken::ArrayEnd => "T_ARR_END",
            JsonToken::Colon => "T_COLON",
            JsonToken::Comma => "T_COMMA",
            JsonToken::String(_) => "T_STRING",
            JsonToken::Number(_) => "T_NUMBER",
            JsonToken::Boolean(_) => "T_BOOLEAN",
            JsonToken::Null => "T_NULL",
            JsonToken::End => "T_END",
            JsonToken::Invalid(problem) => problem,
        }
    }
}

/// A token with its offset.
type Placed = (usize, JsonToken);

/// A table that is being read.
enum TableBuilder {
    /// With the number of its items.
    Array(Table, usize),
    /// With the key of the next value.
    Object(Table, Value),
}

impl TableBuilder {
    fn put(&mut self, item: Value) -> Result<()> {
        match self {
            TableBuilder::Array(table, length) => {
                *length += 1;
                table.raw_set(*length, item)
            }
            TableBuilder::Object(table, key) => table.raw_set(&*key, item),
        }
    }
}

impl Decoder<'_> {
    /// Without recursion: values may nest deeper than a thread's stack allows.
    fn document(&mut self) -> Result<Value> {
        let mut open: Vec<TableBuilder> = Vec::new();
        let mut token = self.next()?;
        loop {
            // None for a table whose items follow.
            let mut whole = self.simple(&token)?;
            if whole.is_none() {
                let table = self.lua.create_table()?;
                open.push(match token.1 {
                    JsonToken::ObjectBegin => TableBuilder::Object(table, Value::Nil),
                    _ => TableBuilder::Array(table, 0),
                });
                self.check_depth(open.len())?;
            }
            token = loop {
                let Some(mut table) = open.pop() else {
                    return Ok(whole.unwrap_or(Value::NULL));
                };
                if let Some(token) = self.item(&mut table, whole)? {
                    open.push(table);
                    break token;
                }
                let (TableBuilder::Array(table, _) | TableBuilder::Object(table, _)) = table;
                whole = Some(Value::Table(table));
            };
        }
    }

    fn simple(&self, token: &Placed) -> Result<Option<Value>> {
        Ok(Some(match &token.1 {
            JsonToken::String(text) => Value::String(text.clone()),
            JsonToken::Number(number) => Value::Number(*number),
            JsonToken::Boolean(yes) => Value::Boolean(*yes),
            JsonToken::Null => Value::NULL,
            JsonToken::ObjectBegin | JsonToken::ArrayBegin => return Ok(None),
            _ => return Err(self.unexpected("value", token)),
        }))
    }

    /// Adds the item that was read, if any, to its table. Returns the first token of the next item, or None at the end.
    fn item(&mut self, table: &mut TableBuilder, item: Option<Value>) -> Result<Option<Placed>> {
        let is_first = item.is_none();
        if let Some(item) = item {
            table.put(item)?;
        }
        let mut token = self.next()?;
        let expected = match (&*table, &token.1) {
            (TableBuilder::Array(..), JsonToken::ArrayEnd)
            | (TableBuilder::Object(..), JsonToken::ObjectEnd) => return Ok(None),
            (TableBuilder::Array(..), _) => "comma or array end",
            (TableBuilder::Object(..), _) => "comma or object end",
        };
        if !is_first {
            if !matches!(token.1, JsonToken::Comma) {
                return Err(self.unexpected(expected, &token));
            }
            token = self.next()?;
        }
        let TableBuilder::Object(_, key) = table else {
            return Ok(Some(token));
        };
        let JsonToken::String(text) = &token.1 else {
            return Err(self.unexpected("object key string", &token));
        };
        *key = Value::String(text.clone());
        let colon = self.next()?;
        if !matches!(colon.1, JsonToken::Colon) {
            return Err(self.unexpected("colon", &colon));
        }
        self.next().map(Some)
    }

    fn check_depth(&self, depth: usize) -> Result<()> {
        if depth <= DEEPEST.min(self.settings.decode_max_depth as usize) {
            return Ok(());
        }
        let at = self.at;
        let message = format_args!("Found too many nested data structures ({depth}) at character {at}");
        Err(raise::text(self.lua, message))
    }

    fn unexpected(&self, expected: &str, (at, token): &Placed) -> mlua::Error {
        let (found, character) = (token.name(), at + 1);
        raise::text(
            self.lua,
            format_args!("Expected {expected} but found {found} at character {character}"),
        )
    }

    /// As in lua-cjson, which reads C strings, a NUL ends the text.
    fn peek(&self) -> u8 {
        self.json.get(self.at).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Result<Placed> {
        self.meter.step()?;
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.meter.step()?;
            self.at += 1;
        }
        let start = self.at;
        let single = match self.peek() {
            0 => return Ok((start, JsonToken::End)),
            b'"' => return self.string(),
            b'{' => JsonToken::ObjectBegin,
            b'}' => JsonToken::ObjectEnd,
            b'[' => JsonToken::ArrayBegin,
            b']' => JsonToken::ArrayEnd,
            b':' => JsonToken::Colon,
            b',' => JsonToken::Comma,
            _ => {
                let word = self.word();
                self.meter.work(self.at - start)?;
                return Ok((start, word));
            }
        };
        self.at += 1;
        Ok((start, single))
    }

    fn word(&mut self) -> JsonToken {
        let rest = &self.json[self.at..];
        for (name, token) in [
            (&b"true"[..], JsonToken::Boolean(true)),
            (b"false", JsonToken::Boolean(false)),
            (b"null", JsonToken::Null),
        ] {
            if rest.starts_with(name) {
                self.at += name.len();
                return token;
            }
        }
        if !self.settings.decode_invalid_numbers && is_invalid_number(rest) {
            return JsonToken::Invalid(match rest[0] {
                b'-' | b'0'..=b'9' => "invalid number",
                _ => "invalid token",
            });
        }
        match number(rest) {
            Some((number, length)) => {
                self.at += length;
                JsonToken::Number(number)
            }
            None if matches!(rest[0], b'-' | b'+') => JsonToken::Invalid("invalid number"),
            None => JsonToken::Invalid("invalid token"),
        }
    }

    fn string(&mut self) -> Result<Placed> {
        let start = self.at;
        let mut text = LuaText::new(self.lua);
        self.at += 1;
        loop {
            let rest = &self.json[self.at..];
            let plain = memchr3(b'"', b'\\', 0, rest).unwrap_or(rest.len());
            text.push(&rest[..plain])?;
            self.at += plain;
            match self.peek() {
                b'"' => break,
                0 => return Ok((self.at, JsonToken::Invalid("unexpected end of string"))),
                _ => match self.escape() {
                    Ok((character, length)) => {
                        text.push(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                        self.at += length;
                    }
                    Err(problem) => return Ok((self.at, JsonToken::Invalid(problem))),
                },
            }
        }
        self.at += 1;
        Ok((start, JsonToken::String(text.into_lua()?)))
    }

    /// The character of the escape here, with the length of the escape.
    fn escape(&self) -> std::result::Result<(char, usize), &'static str> {
        let character = match self.json.get(self.at + 1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.character().ok_or("invalid unicode escape code"),
            _ => return Err("invalid escape code"),
        };
        Ok((character, 2))
    }

    /// The character of `\uXXXX`, or of a surrogate pair.
    fn character(&self) -> Option<(char, usize)> {
        let unit = |at: usize| {
            let digits = self.json.get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits.iter().try_fold(0, |number: u16, digit| {
                Some(number << 4 | char::from(*digit).to_digit(16)? as u16)
            })
        };
        let first = unit(self.at)?;
        if let Some(character) = char::from_u32(first.into()) {
            return Some((character, 6));
        }
        let pair = [first, unit(self.at + 6)?];
        let character = char::decode_utf16(pair).next()?.ok()?;
        Some((character, 12))
    }
}

/// Whether it begins like a number that JSON does not have: `+1`, `01`, `0x1`, `inf`, `nan`.
fn is_invalid_number(text: &[u8]) -> bool {
    let digits = match text {
        [b'+', ..] => return true,
        [b'-', digits @ ..] => digits,
        _ => text,
    };
    if let [b'0', next, ..] = digits {
        return next.is_ascii_digit() || next.eq_ignore_ascii_case(&b'x');
    }
    let word = digits.get(..3).unwrap_or_default();
    word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
}

/// The longest number at the start, and its length.
fn number(text: &[u8]) -> Option<(f64, usize)> {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let is_at = |at: usize, bytes: &[u8]| text.get(at).is_some_and(|byte| bytes.contains(byte));
    let sign = usize::from(is_at(0, b"+-"));
    let whole = digits(sign);
    let fraction = if is_at(sign + whole, b".") {
        1 + digits(sign + whole + 1)
    } else {
        0
    };
    // As in lua-cjson, `-.5` is a number and `.5` is not.
    if whole == 0 && (sign == 0 || fraction < 2) {
        return not_finite(text, sign);
    }
    let mut end = sign + whole + fraction;
    if is_at(end, b"eE") {
        let exponent = end + 1 + usize::from(is_at(end + 1, b"+-"));
        if digits(exponent) > 0 {
            end = exponent + digits(exponent);
        }
    }
    parse(text, end)
}

fn not_finite(text: &[u8], sign: usize) -> Option<(f64, usize)> {
    [&b"infinity"[..], b"inf", b"nan"].into_iter().find_map(|name| {
        let end = sign + name.len();
        let word = text.get(sign..end)?;
        word.eq_ignore_ascii_case(name).then(|| parse(text, end))?
    })
}

fn parse(text: &[u8], end: usize) -> Option<(f64, usize)> {
    let number = std::str::from_utf8(text.get(..end)?).ok()?;
    Some((number.parse().ok()?, end))
}
