-- doom_files: those of some blobs that no job needs may be deleted within a minute, in which no job can need them; or
-- that is over.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; 1 where it is over; count; digests
-- Answers the digests that may be deleted
local over, digests, doomed = number() == 1, list(), {}
call('ZREMRANGEBYSCORE', P .. K.files_doomed, '-inf', digits(now - L.doom_ms))
for _, digest in ipairs(digests) do
  if over then
    call('ZREM', P .. K.files_doomed, digest)
  elseif call('EXISTS', P .. K.file_users .. digest) == 0 then
    call('ZADD', P .. K.files_doomed, digits(now), digest)
    doomed[#doomed + 1] = digest
  end
end
return doomed
