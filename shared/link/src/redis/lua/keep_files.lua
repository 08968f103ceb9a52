-- keep_files: a job needs these blobs; as long as it is known, nobody deletes them. Repeating it changes nothing but the
-- time.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; job; count; digests
-- Answers ok, or busy: one of them is being deleted just now; or full: the job needs as many as it may
local id, digests = arg(), list()
for _, digest in ipairs(digests) do
  local since = call('ZSCORE', P .. K.files_doomed, digest)
  if since and tonumber(since) > now - L.doom_ms then
    return {'busy'}
  end
end
if call('SCARD', P .. K.files_of .. id) + #digests > L.files_of_job then
  return {'full'}
end
call('ZADD', P .. K.file_jobs, digits(now), id)
for _, digest in ipairs(digests) do
  call('SADD', P .. K.files_of .. id, digest)
  call('SADD', P .. K.file_users .. digest, id)
end
return {'ok'}
