-- limits: every named limit, with what passed and who waits. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel
-- Answers, per limit: {name, policy (JSON), how many of its keys are in use, per key shown: {key, passed, waiting}}
local answers = {}
local all = call('HGETALL', P .. K.limits)
for i = 1, #all, 2 do
  local from, to = of_limit(all[i])
  local keys = {}
  for _, gate in ipairs(call('ZRANGEBYLEX', P .. K.gates, from, to, 'LIMIT', 0, L.keys_shown)) do
    local waiting = 0
    for _, turn in ipairs(call('ZRANGE', P .. K.turns .. gate, 0, -1)) do
      waiting = waiting + call('ZCARD', P .. K.waiters .. gate .. '\n' .. turn)
    end
    local passed = math.max(call('ZCARD', P .. K.holders .. gate), call('ZCARD', P .. K.unclaimed .. gate))
    keys[#keys + 1] = {string.sub(gate, #all[i] + 4), passed, waiting}
  end
  answers[#answers + 1] = {all[i], all[i + 1], call('ZLEXCOUNT', P .. K.gates, from, to), keys}
end
return answers
