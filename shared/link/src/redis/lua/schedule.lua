-- What the scripts on schedules share. A schedule is a hash with `rev` (its revision), `def` (JSON, which only Rust
-- reads) and `last` (the job that it sent last); its name is in K.schedules, and in K.schedules_due while it fires.

-- Reads a schedule. Answers it; or nil where there is none; or nil and what is wrong with it.
local function read_schedule(name)
  local found = try('HMGET', P .. K.schedule .. name, 'rev', 'def', 'last')
  if found.err then
    return nil, 'its record is not a hash'
  end
  if not found[1] and not found[2] then
    return nil
  end
  local rev = tonumber(found[1] or nil)
  if not rev or not found[2] then
    return nil, 'its record has no revision or no definition'
  end
  return {name = name, rev = rev, def = found[2], last = found[3] or ''}
end

-- Whether a job has not ended.
local function is_open(id)
  local r = id ~= '' and read(id)
  return r and not TERMINAL[r.st] or false
end

local function shown(z)
  return {'ok', z.name, z.rev, z.def, is_open(z.last) and 1 or 0}
end

-- Reads schedules within both bounds. `aside(name, damage)`: what becomes of one that is gone or cannot be read. Answers
-- them as they are shown, and whether there are more.
local function read_some(names, limit, most, aside)
  local found, bytes = {}, 0
  for i, name in ipairs(names) do
    if i > limit or bytes >= most then
      return found, 1
    end
    local z, damage = read_schedule(name)
    if z then
      found[#found + 1] = shown(z)
      bytes = bytes + #z.def
    else
      if aside then
        aside(name, damage)
      end
      found[#found + 1] = damage and {'damaged', name, damage} or nil
    end
  end
  return found, 0
end

local function first_schedule()
  return tonumber(call('ZRANGE', P .. K.schedules_due, 0, 0, 'WITHSCORES')[2] or nil)
end
