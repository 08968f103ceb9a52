-- The gates of one limit: used by what sets limits and what shows them.

-- Where they lie in the index of gates. A semicolon is what follows a colon.
local function of_limit(name)
  return '[l:' .. name .. ':', '(l:' .. name .. ';'
end

-- Whether a limit of this policy (JSON, or none) counts who is there at once.
local function counts(policy)
  return policy and policy ~= '' and cjson.decode(policy).max
end

-- Counts those that run already at limits (names, as keys of a table) that counted nobody until now.
local function count_running(names)
  for _, id in ipairs(next(names) and call('ZRANGE', P .. K.state .. 'active', 0, -1) or {}) do
    local r = read(id)
    for gate in string.gmatch(r and r.ga or '', '[^\n]+') do
      if names[string.match(gate, '^l:([^:]*):')] then
        call('ZADD', P .. K.holders .. gate, 'NX', digits(now), id)
        call('ZADD', P .. K.gates, 0, gate)
      end
    end
  end
end

-- What a limit allows has changed: who waits is looked at by the next promotion.
local function look_again(name)
  for _, gate in ipairs(call('ZRANGEBYLEX', P .. K.gates, of_limit(name))) do
    wake_at(gate, now)
  end
end
