// Random expressions of Lua: calls of the libraries that Redis offers to scripts, with right and wrong arguments.
import fc from "fast-check";
import { anything, number, pattern, position, quoted, small, string } from "./lua-values.js";

/** Turns the values of an expression, or the error that it raises, into a list of texts. The expression is appended. */
export const SHOW = `
local function show(value, depth)
  if type(value) == 'number' then return string.format('%.17g', value) end
  if type(value) == 'function' then return 'function' end
  if type(value) ~= 'table' then return type(value) .. ' ' .. tostring(value) end
  if depth == 0 then return 'deep' end
  local items = {}
  for key, item in pairs(value) do table.insert(items, show(key, depth - 1) .. '=' .. show(item, depth - 1)) end
  table.sort(items)
  return '{' .. table.concat(items, ';') .. '}'
end
local function shown(...)
  local list = {}
  for at = 1, select('#', ...) do list[at] = show((select(at, ...)), 4) end
  return list
end
`;

export const showing = (expression: string) =>
  `${SHOW}return shown(pcall(function() return ${expression} end))`;

/** A call in which now and then an argument has the wrong type, or is missing. */
function call(name: string, ...parameters: fc.Arbitrary<string>[]): fc.Arbitrary<string> {
  const argument = (right: fc.Arbitrary<string>) =>
    fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: anything });
  const all = fc.tuple(...parameters.map(argument));
  const some = fc.tuple(all, fc.nat(parameters.length)).map(([args, length]) => args.slice(0, length));
  return fc
    .oneof({ weight: 9, arbitrary: all }, { weight: 1, arbitrary: some })
    .map((args) => `${name}(${args.join(", ")})`);
}

const replacement = fc.oneof(
  fc.constantFrom(
    "'<%0>'",
    "'%1'",
    "'%2'",
    "'%%'",
    "'%'",
    "''",
    "{a = 'A', b = false, c = 3}",
    "string.upper",
    "1.5",
    "true",
  ),
  fc.constantFrom(
    "function(a, b) return b or a end",
    "function() end",
    "function(x) error('in callback') end",
    "function() return {} end",
  ),
);

const format = fc
  .array(
    fc.oneof(
      fc
        .tuple(
          fc.constantFrom("", "", "-", "0", "+", " ", "#", "-+ #0", "-+ #00"),
          fc.constantFrom("", "", "5", "12", "99", "100"),
          fc.constantFrom("", "", ".", ".0", ".3", ".17", ".100"),
          fc.constantFrom(..."diuxXoeEfgGscq%ahn"),
        )
        .map((parts) => `%${parts.join("")}`),
      fc.constantFrom("%", "text", "\0", "é"),
    ),
    { maxLength: 3 },
  )
  .map((parts) => quoted(parts.join("")));

const json = fc
  .oneof(
    fc.json({ maxDepth: 4 }),
    fc.string({ unit: fc.constantFrom(...'[]{}":,0123.-+eEntfaruls \\\t\n/u'), maxLength: 14 }),
    fc.constantFrom(
      '"\\ud83d\\ude00"',
      '"\\ud83d"',
      '"\\udc00"',
      '"\\u00e9\\u0000"',
      "1e999",
      "-0",
      "01",
      "nan",
      "Infinity",
      "[1,]",
      '{"a":1,}',
    ),
    fc.constantFrom(
      "\u0001",
      '"\u0001"',
      '"\u007f"',
      "[".repeat(999),
      "[".repeat(1001),
      "1 2",
      "[1e400]",
      "-",
      "+1",
      ".5",
      "5.",
      "12345678901234567890",
    ),
  )
  .map(quoted);

const table: fc.Arbitrary<string> = fc.letrec<{ value: string; table: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.oneof(string, number, fc.constantFrom("true", "false", "cjson.null")),
    tie("table"),
  ),
  table: fc
    .array(
      fc.oneof(
        { weight: 4, arbitrary: tie("value") },
        { weight: 1, arbitrary: fc.tuple(string, tie("value")).map(([key, value]) => `[${key}] = ${value}`) },
        {
          weight: 1,
          arbitrary: fc
            .tuple(fc.constantFrom("1", "2", "3", "12", "1.5", "-1", "true", "0"), tie("value"))
            .map(([key, value]) => `[${key}] = ${value}`),
        },
      ),
      { maxLength: 3 },
    )
    .map((items) => `{${items.join(", ")}}`),
})).table;

const SETTINGS: Record<string, fc.Arbitrary<string>[]> = {
  encode_sparse_array: [
    fc.constantFrom("true", "false", "nil", "'on'", "'off'", "'yes'", "1"),
    fc.constantFrom("0", "1", "2", "3.9", "nil", "-1", "'3'"),
    fc.constantFrom("0", "1", "5", "nil", "2^31", "2^32 + 1"),
  ],
  encode_max_depth: [fc.constantFrom("0", "1", "2", "3", "3000", "'2'", "nil", "2^31 - 1", "{}")],
  decode_max_depth: [fc.constantFrom("0", "1", "2", "3", "3000", "'2'", "nil", "2^31 - 1", "{}")],
  encode_number_precision: [fc.constantFrom("0", "1", "3", "14", "15", "nil", "'5'")],
  encode_keep_buffer: [fc.constantFrom("true", "false", "nil", "'on'", "'off'", "'x'")],
  encode_invalid_numbers: [
    fc.constantFrom("true", "false", "nil", "'on'", "'off'", "'null'", "'x'", "1", "{}"),
  ],
  decode_invalid_numbers: [fc.constantFrom("true", "false", "nil", "'on'", "'off'", "'null'")],
};
const setting = fc.oneof(
  ...Object.entries(SETTINGS).map(([name, parameters]) => call(`cjson.${name}`, ...parameters)),
);
const odd = fc.oneof(
  { weight: 2, arbitrary: table },
  fc.constantFrom(
    "1 / 0",
    "-1 / 0",
    "{0 / 0, 1 / 3}",
    "{[1 / 0] = 1}",
    "{[12] = 1}",
    "{[3] = 1, [6] = 2}",
    "{{{}}}",
    "{a = {b = {}}}",
  ),
);
const oddJson = fc.oneof(
  { weight: 2, arbitrary: json },
  fc
    .constantFrom(
      "inf",
      "-Infinity",
      "[nan]",
      "[-nan]",
      "01",
      "-01",

      "+1",
      "[[[1]]]",
      '{"a":{"b":{}}}',
      "Nope",
      "info",
      "-i",
    )
    .map(quoted),
);
/** Settings of a cjson library that the script makes for itself: Redis keeps those of the shared library for later scripts. */
const withSettings = fc
  .tuple(fc.array(setting, { minLength: 1, maxLength: 3 }), odd, oddJson)
  .map(
    ([settings, value, text]) =>
      `(function() local cjson = cjson.new() ${settings.map((call) => `pcall(function() ${call} end)`).join(" ")} return ${settings[0]?.replace(/\(.*$/, "()")}, select(2, pcall(cjson.encode, ${value})), select(2, pcall(cjson.decode, ${text})) end)()`,
  );

const strings = fc
  .array(fc.oneof(string, fc.constantFrom("1", "2", "10", "0.5")), { maxLength: 5 })
  .map((items) => `{${items.join(", ")}}`);
const patterned = pattern.map(quoted);
const base = fc.constantFrom("10", "16", "2", "36", "8", "1", "37", "nil");
const simple = fc.oneof(string, number, fc.constantFrom("nil", "true", "false"));

/** Everything that `gmatch` gives, in a table. */
const matches = fc
  .tuple(string, patterned)
  .map(
    ([text, pattern]) =>
      `(function() local all = {} for a, b in string.gmatch(${text}, ${pattern}) do all[#all + 1] = a all[#all + 1] = b or '-' end return all end)()`,
  );

const operation = fc
  .tuple(simple, fc.constantFrom("+", "-", "*", "/", "%", "^", "..", "<", "<=", "==", "~="), simple)
  .map(([left, operator, right]) => `${left} ${operator} ${right}`);

export const expressions: Record<string, fc.Arbitrary<string>> = {
  patterns: fc.oneof(
    call("string.find", string, patterned, small, fc.constantFrom("true", "false")),
    call("string.find", string, patterned),
    call("string.match", string, patterned, small),
    call("string.gsub", string, patterned, replacement, small),
    call("string.gsub", string, patterned, replacement),
    matches,
  ),
  strings: fc.oneof(
    fc
      .tuple(string, fc.constantFrom("-1", "0", "1", "3.9", "'2'", "100"))
      .map(([text, count]) => `string.rep(${text}, ${count})`),
    call("string.sub", string, small, small),
    call("string.byte", string, small, small),
    call(
      "string.char",
      fc.constantFrom("0", "65", "127", "1.5", "'66'", "128", "256", "-1"),
      fc.constantFrom("97", "'98'"),
    ),
    call("string.upper", string),
    call("string.lower", string),
    call("string.reverse", string),
    call("string.len", string),
    operation,
  ),
  formats: fc.oneof(
    call("string.format", format, number, number, number),
    call("string.format", format, string, string, string),
    call("string.format", format, simple, simple, simple),
    simple.map((value) => `tostring(${value})`),
    call("tonumber", simple, base),
    call("tonumber", simple),
  ),
  numbers: fc.oneof(
    ...["floor", "ceil", "abs", "sqrt", "exp", "log", "frexp", "modf", "sin"].map((name) =>
      call(`math.${name}`, number),
    ),
    ...["max", "min", "pow", "fmod"].map((name) => call(`math.${name}`, number, number)),
    call("select", fc.oneof(small, fc.constant("'#'")), simple, simple, simple),
    operation,
  ),
  tables: fc.oneof(
    call("table.concat", strings, string, position, position),
    call("unpack", strings, position, position),
    strings.map((list) => `(function() local list = ${list} table.sort(list) return list end)()`),
    fc
      .tuple(strings, position, string)
      .map(
        ([list, at, item]) =>
          `(function() local list = ${list} table.insert(list, ${at}, ${item}) return list, table.remove(list, ${at}) end)()`,
      ),
    fc
      .tuple(strings, position)
      .map(
        ([list, at]) =>
          `(function() local list = ${list} return table.remove(list, ${at}), list, table.getn(list), table.maxn(list), next(list) end)()`,
      ),
  ),
  json: fc.oneof(
    call("cjson.encode", fc.oneof(table, simple, strings)),
    json.map((text) => `cjson.decode(${text})`),
    json.map((text) => `cjson.encode(cjson.decode(${text}))`),
  ),
  "settings of cjson": fc.oneof(
    {
      weight: 1,
      arbitrary: setting.map((call) => `(function() local cjson = cjson.new() return ${call} end)()`),
    },
    { weight: 3, arbitrary: withSettings },
  ),
};
