-- enqueue (T1, T2): accepts jobs. Per job: all of it (record, envelope, indexes, outbox) or nothing; the same job
-- again changes nothing and answers what it is now. Refused as a whole when the server is out of memory.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; per job: see read_job in admit.lua; where a unique job asks for a new key, at the end
--       the run id of the server, space, and that of the one that this process knew before, or nothing
-- Answers, per job: {ok, state, generation, created, existed (10 more: the site that it preferred was given up)} |
--   {taken} | {ended} | {topics, topic} | {lanes, lane} |
--   {history, id} | {key, id} | {wait, ms} | {limit, name} |
--   {length, queue, most} | {damaged, detail}
local answers = {}
for i = 1, number() do
  answers[i] = admit(read_job())
end
flush()
return answers
