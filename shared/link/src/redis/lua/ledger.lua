-- ledger: reads the counters and the sizes of the indexes at one moment. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel
-- Answers {counters (names and values by turns), {state, size by turns}, {topic, size by turns}, size of the index of
--   open jobs, size of the outbox}
local states, topics = {}, {}
for state in pairs(NEEDS) do
  states[#states + 1], states[#states + 2] = state, call('ZCARD', P .. K.state .. state)
end
for _, topic in ipairs(call('HKEYS', P .. K.topics)) do
  topics[#topics + 1], topics[#topics + 2] = topic, call('ZCARD', P .. K.topic .. topic)
end
return {call('HGETALL', P .. K.counts), states, topics, call('ZCARD', P .. K.open), call('ZCARD', P .. K.outbox)}
