-- indexed: of fields, whether all jobs of some topics have them indexed. Writes nothing.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; fields (count first); 1 for any topic, else 0; topics (count first)
-- Answers, per field: 1 or 0
local paths, any, topics = list(), number() == 1, list()
if any then
  topics = call('HKEYS', P .. K.topics)
end
local jobs, answers = {}, {}
for i, topic in ipairs(topics) do
  jobs[i] = call('ZCARD', P .. K.topic .. topic)
end
for i, path in ipairs(paths) do
  answers[i] = 1
  for j, topic in ipairs(topics) do
    if jobs[j] > 0 and tonumber(call('HGET', P .. K.fields, path .. '\n' .. topic) or nil) ~= jobs[j] then
      answers[i] = 0
      break
    end
  end
end
return answers
