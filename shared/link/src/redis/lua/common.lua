-- What every script shares: its arguments, the server's clock, and the outage amnesty.
--
-- Rust puts this file behind the `#!lua` line, and writes out what stands for constants:
--   K.…    what follows the prefix of this slot (names.rs)
--   L.…    limits (limits.rs)
-- KEYS[1]  the prefix of every key of the slot
-- ARGV[1]  the channel of the fleet's nudges; a script's own arguments follow and are read in order
local call, try, tonumber, math, string = redis.call, redis.pcall, tonumber, math, string
local ARGV, P, NUDGES = ARGV, KEYS[1], ARGV[1]

local position = 1
local function arg()
  position = position + 1
  return ARGV[position]
end

local function number()
  return tonumber(arg())
end

-- A count, then as many arguments.
local function list()
  local items = {}
  for i = 1, number() do
    items[i] = arg()
  end
  return items
end

-- A whole number in digits: Lua's own conversion switches to an exponent.
local function digits(value)
  return string.format('%.0f', value)
end

local clock = call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

local function nudge(text)
  call('PUBLISH', NUDGES, text)
end

-- Records a beat in the hash at `key` and answers until when nobody is declared dead (0: no amnesty).
-- An outage is either another run id of the server, or a span longer than `gap` in which nobody beat, provided
-- that the caller beat before it (`mine`, ms; 0: never): a fleet of one that restarts is no outage.
local function amnesty(key, run, lease, gap, mine)
  local known = call('HMGET', key, 'run', 'beat', 'amnesty', 'gap_from', 'gap_to')
  local last, till = tonumber(known[2] or nil), tonumber(known[3] or nil) or 0
  local from, to = tonumber(known[4] or nil), tonumber(known[5] or nil)
  local changed = {'beat', digits(now)}
  local before = till
  if last and last > now + gap then
    -- The clock went back: what was noted before lies too far away.
    till, from, to = math.min(till, now + lease), nil, nil
    call('HDEL', key, 'gap_from', 'gap_to')
  end
  if run ~= '' and known[1] ~= run then
    if known[1] then
      till = math.max(till, now + lease)
    end
    changed[#changed + 1], changed[#changed + 2] = 'run', run
  end
  if last and now - last > gap then
    from, to = last, now
    changed[#changed + 1], changed[#changed + 2] = 'gap_from', digits(from)
    changed[#changed + 1], changed[#changed + 2] = 'gap_to', digits(to)
  end
  if from and to and mine > 0 and mine <= from then
    till = math.max(till, to + lease)
  end
  if till ~= before then
    changed[#changed + 1], changed[#changed + 2] = 'amnesty', digits(till)
  end
  call('HSET', key, unpack(changed))
  return till > now and till or 0
end
