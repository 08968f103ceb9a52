-- The gates of one limit: used by what sets limits and what shows them.

-- Where they lie in the index of gates. A semicolon is what follows a colon.
local function of_limit(name)
  return '[l:' .. name .. ':', '(l:' .. name .. ';'
end

-- What a limit allows has changed: who waits is looked at by the next promotion.
local function look_again(name)
  for _, gate in ipairs(call('ZRANGEBYLEX', P .. K.gates, of_limit(name))) do
    wake_at(gate, now)
  end
end
