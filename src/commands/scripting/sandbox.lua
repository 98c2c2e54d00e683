-- What a script sees: made anew for each run, out of what all runs share and no script can change.
-- Called once, with the functions written in Rust; returns the function that runs a compiled script.
local native = ...
local error, pcall, rawget, rawset, select = error, pcall, rawget, rawset, select
local setfenv, setmetatable, tostring, type, xpcall = setfenv, setmetatable, tostring, type, xpcall
local reveal, position = native.reveal, native.position

local function refuse()
  error('Attempt to modify a readonly table', 2)
end

-- A shared table is seen through the metatable of an empty one that belongs to the run: a script that writes past the
-- metatable, with rawset or table.insert, writes there.
local function readonly(shared)
  return {__index = shared, __newindex = refuse, __metatable = false}
end

-- Errors of functions written in Rust are userdata, which `reveal` makes tables and strings of. As in Redis, `pcall` gives the
-- text of an error that is a table.
local function reveal_error(ok, ...)
  if ok then return true, ... end
  local value = reveal((...))
  if type(value) == 'table' and type(rawget(value, 'err')) == 'string' then
    value = rawget(value, 'err')
  end
  return false, value
end

-- The handler runs after the fall, not before it as in Lua's own: Lua calls no hook within a handler, so that nothing could
-- stop one that does not end.
local function handle(handler, ok, ...)
  if ok then return true, ... end
  local handled, value = pcall(handler, reveal((...)))
  if handled then return false, value end
  return false, 'error in error handling'
end

local base = {
  _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next, pairs = pairs,
  rawequal = rawequal, rawget = rawget, rawset = rawset, select = select, setmetatable = setmetatable, tonumber = tonumber,
  tostring = tostring, type = type, unpack = native.unpack,
  pcall = function(protected, ...)
    return reveal_error(pcall(protected, ...))
  end,
  xpcall = function(...)
    if select('#', ...) < 2 then error("bad argument #2 to 'xpcall' (value expected)", 2) end
    local protected, handler = ...
    return handle(handler, pcall(protected))
  end,
}

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  sha1hex = native.sha1hex,
}

local function replied(ok, ...)
  if ok then return ... end
  local value = reveal((...))
  if type(value) ~= 'table' then error(value, 0) end
  return value
end

function redis.pcall(...)
  return replied(pcall(redis.call, ...))
end

local function is_one_string(...)
  return select('#', ...) == 1 and type((...)) == 'string'
end

local match, find = native.match, native.find

function redis.error_reply(...)
  if not is_one_string(...) then return {err = 'ERR wrong number or type of arguments'} end
  local text = match(..., '^%-?(.-)[\r\n]*$')
  if not find(text, ' ', 1, true) then text = 'ERR ' .. match(text, '^[\r\n]*(.*)$') end
  return {err = text}
end

function redis.status_reply(...)
  if not is_one_string(...) then return {err = 'ERR wrong number or type of arguments'} end
  return {ok = ...}
end

-- Drops what it is given: there is no server with a log.
function redis.log(level, ...)
  if select('#', ...) == 0 then error({err = 'ERR redis.log() requires two arguments or more.'}) end
  level = tonumber(level)
  if not level then error({err = 'ERR First argument must be a number (log level).'}) end
  if level < 0 or level > 3 then error({err = 'ERR Invalid debug level.'}) end
end

function redis.replicate_commands()
  return true
end

getmetatable('').__metatable = false
string.dump = nil
string.find, string.match, string.gsub, string.rep = find, match, native.gsub, native.rep
string.upper, string.lower, string.reverse = native.upper, native.lower, native.reverse

-- What is passed as the `i`th, as `luaL_check…` checks it.
local function check(name, i, expected, ...)
  local kind = select('#', ...) < i and 'no value' or type((select(i, ...)))
  if kind ~= expected and not (expected == 'string' and kind == 'number') then
    error('bad argument #' .. i .. " to '" .. name .. "' (" .. expected .. ' expected, got ' .. kind .. ')', 3)
  end
end

function string.gmatch(...)
  check('gmatch', 1, 'string', ...)
  check('gmatch', 2, 'string', ...)
  local text, pattern = ...
  local at = 1
  local function move(next, ...)
    at = next
    return ...
  end
  return function()
    return move(native.next_match(text, pattern, at))
  end
end

string.gfind = string.gmatch

table.concat, table.sort = native.concat, native.sort

-- What is added or taken at the end needs no loop. The functions written in Rust cost several times as much.
local insert, remove = native.insert, native.remove

-- A function that is called last is no longer called from here: its errors would not know the place in the script.
local function same(...)
  return ...
end

function table.insert(...)
  local list, value = ...
  if select('#', ...) == 2 and type(list) == 'table' then
    rawset(list, #list + 1, value)
  else
    insert(...)
  end
end

function table.remove(...)
  local list = ...
  if select('#', ...) > 1 or type(list) ~= 'table' then
    return same(remove(...))
  end
  local length = #list
  if length == 0 then return end
  local value = rawget(list, length)
  rawset(list, length, nil)
  return value
end

-- Loops of Lua's, which can be stopped.
function table.foreach(...)
  check('foreach', 1, 'table', ...)
  check('foreach', 2, 'function', ...)
  local list, visit = ...
  for key, value in next, list do
    local result = visit(key, value)
    if result ~= nil then return result end
  end
end

function table.foreachi(...)
  check('foreachi', 1, 'table', ...)
  check('foreachi', 2, 'function', ...)
  local list, visit = ...
  for i = 1, #list do
    local result = visit(i, rawget(list, i))
    if result ~= nil then return result end
  end
end

math.random, math.randomseed = native.random, native.randomseed

local libraries = {
  bit = readonly(native.bit), cjson = readonly(native.cjson), math = readonly(math), redis = readonly(redis),
  string = readonly(string), table = readonly(table),
}

local global = {}

function global.__index(globals, name)
  local value = base[name]
  if value == nil then
    local library = libraries[name]
    if not library then
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end
    value = setmetatable({}, library)
  end
  rawset(globals, name, value)
  return value
end

-- What is left of an error that nothing caught: its text, as Redis has it, and where it was raised.
local function locate(value)
  value = reveal(value)
  if type(value) == 'table' then
    local text = rawget(value, 'err')
    local is_text = type(text) == 'string' or type(text) == 'number'
    value = is_text and tostring(text) or 'ERR unknown error'
  else
    value = 'ERR ' .. tostring(value)
  end
  return {value, position()}
end

local nowhere = {}

return function(chunk, keys, argv, call)
  redis.call = call
  local globals = setmetatable({KEYS = keys, ARGV = argv, _G = false}, global)
  local environment = setmetatable({}, readonly(globals))
  globals._G = environment
  setfenv(chunk, environment)
  local ok, value = xpcall(chunk, locate)
  -- The compiled script stays: nothing of this run may stay with it.
  setfenv(chunk, nowhere)
  redis.call = nil
  if ok then return true, value end
  if type(value) == 'table' then return false, value[1], value[2] end
  -- Without memory no handler runs.
  return false, 'ERR ' .. value
end
