-- report: writes what attempts say while they run. Only the attempt that holds the fence may. Progress and
-- properties can be repeated; a repeated log line is there twice.
-- KEYS  [1] prefix of the shard
-- ARGV  [1] nudge channel; count; per item: id, fence, progress (JSON, or empty), properties (count; name and value
--       by turns), log (count; where there are lines: how many to keep, how many
--       were let go before; JSON without its time)
-- Answers, per item: 1 when written, 0 when the attempt is not current
local answers = {}
for i = 1, number() do
  local id, fence, report = arg(), number(), read_report()
  local r = read(id)
  answers[i] = 0
  if r and r.st == 'active' and r.fe == fence then
    write_report(r, report)
    save(r)
    answers[i] = 1
  end
end
flush()
return answers
