-- Counters of jobs and statistics, collected over a call by the place of a job (its topic and its queue, space between),
-- and written by `flush`: what a place adds to its statistics goes in one command, however many jobs there are.

-- The place of a job: jobs of one call mostly share it, and a text is dear to make.
local topic_of_place, queue_of_place, place_before
local function place_of_job(topic, queue)
  if topic ~= topic_of_place or queue ~= queue_of_place then
    topic_of_place, queue_of_place, place_before = topic, queue, topic .. ' ' .. queue
  end
  return place_before
end

-- Counters, by place, then by state.
local tally = {}
local function count(state, place, by)
  local states = tally[place]
  if not states then
    states = {}
    tally[place] = states
  end
  states[state] = (states[state] or 0) + by
end

-- What to add to the numbers of each place, by slot (see statistics/activity.rs); at the negative of a slot what to set.
-- `n`: how many were processed.
local activity = {}
local function activity_of(place)
  local adds = activity[place]
  if not adds then
    adds = {n = 0}
    activity[place] = adds
  end
  return adds
end

-- The bucket of a time: four for each doubling.
local frexp, floor = math.frexp, math.floor
local function bucket(ms)
  if ms < 4 then
    return ms
  end
  local part, doublings = frexp(ms)
  local found = doublings * 4 + floor(part * 8) - 12
  return found < L.last_bucket and found or L.last_bucket
end

local function timed(adds, sum, first, ms)
  ms = ms > 0 and ms or 0
  local slot = first + bucket(ms)
  adds[sum], adds[slot] = (adds[sum] or 0) + ms, (adds[slot] or 0) + 1
end

-- An attempt starts after it waited in its lane.
local function count_start(place, waited)
  local adds = activity_of(place)
  timed(adds, L.slot_waited, L.slot_waiting, waited)
  adds[-L.slot_last_started] = now
end

local function count_success(place, ran)
  local adds = activity_of(place)
  timed(adds, L.slot_ran, L.slot_running, ran)
  adds[-L.slot_last_finished], adds.n = now, adds.n + 1
end

-- An attempt failed and is followed by another one (L.slot_failed), or its job ends without success (L.slot_cancelled).
local function count_other(place, slot)
  local adds = activity_of(place)
  adds[slot], adds.n = (adds[slot] or 0) + 1, adds.n + 1
end

-- Numbers of a place that has none yet; or none, where there are too many places.
local function open_activity(key, place)
  if call('SCARD', P .. K.counted) >= L.statistics then
    call('DEL', key)
    return false
  end
  call('SADD', P .. K.counted, place)
  call('BITFIELD', key, 'SET', 'i64', '#' .. L.slot_since, digits(now))
  return true
end

local function write_activity(place, adds)
  local key, minute = P .. K.statistics .. place, floor(now / 60000)
  local ring = '#' .. (L.slot_processed + minute % L.minutes)
  local args, n, processed = {key, 'INCRBY', 'i64', '#' .. L.slot_calls, 1}, 5, adds.n
  if processed > 0 then
    args[6], args[7], args[8], args[9], n = 'INCRBY', 'i64', ring, processed, 9
  end
  adds.n = nil
  for slot, by in pairs(adds) do
    if slot < 0 then
      args[n + 1], args[n + 2], args[n + 3], args[n + 4] = 'SET', 'i64', '#' .. -slot, digits(by)
    else
      args[n + 1], args[n + 2], args[n + 3], args[n + 4] = 'INCRBY', 'i64', '#' .. slot, by
    end
    n = n + 4
  end
  local answer = try('BITFIELD', unpack(args))
  if answer.err then
    -- Something else lies there: it is no statistics, and the next call begins anew.
    call('DEL', key)
  elseif (answer[1] ~= 1 or open_activity(key, place)) and processed > 0
    and floor(answer[2] / L.minute_unit) ~= minute then
    call('BITFIELD', key, 'SET', 'i64', ring, digits(minute * L.minute_unit + processed))
  end
end

local function write_counts()
  for place, states in pairs(tally) do
    for state, by in pairs(states) do
      if by ~= 0 then
        call('HINCRBY', P .. K.counts, state .. ' ' .. place, by)
      end
    end
    tally[place] = nil
  end
  for place, adds in pairs(activity) do
    write_activity(place, adds)
    activity[place] = nil
  end
end
