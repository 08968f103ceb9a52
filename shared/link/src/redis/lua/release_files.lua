-- release_files: of the jobs that were not looked at for a while, those that are unknown need no blobs any more.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; for how long, ms; limit
-- Answers how many were looked at
local old, limit = now - number(), number()
local jobs = old > 0 and call('ZRANGEBYSCORE', P .. K.file_jobs, '-inf', digits(old), 'LIMIT', 0, limit) or {}
for _, id in ipairs(jobs) do
  if call('EXISTS', P .. K.job .. id) == 1 then
    call('ZADD', P .. K.file_jobs, digits(now), id)
  else
    for _, digest in ipairs(call('SMEMBERS', P .. K.files_of .. id)) do
      call('SREM', P .. K.file_users .. digest, id)
    end
    call('DEL', P .. K.files_of .. id)
    call('ZREM', P .. K.file_jobs, id)
  end
end
return #jobs
