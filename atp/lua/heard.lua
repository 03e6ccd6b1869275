#!lua
--[[ heard: merges what a feed worker heard into what is known of each source and node. Operational: no ledger entry.
  KEYS[1]  {pool}:pool. Touches fed of the pool, reads cfg
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.heard.News, …
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, OK ]]
--@include pool

if not head[1] then
  return refuse('UNKNOWN_POOL')
elseif head[4] ~= ARGV[1] then
  return refuse('POOL_NOT_OPEN')
end

local SOURCE, NODE, FIRST, LAST, EVENT, BEAT, COUNTS, COME, WHOLE = 1, 2, 3, 4, 5, 6, 7, 8, 9
local cfg, counting = PREFIX .. 'cfg', {}

-- Whether a source counts its events; nil if nobody provisioned it.
local function counts_events(source)
  if counting[source] == nil then
    local found = call('HGET', cfg, 'source:' .. source)
    counting[source] = found and { (unpack_value(found)[3] or 'sequence') == 'sequence' } or {}
  end
  return counting[source][1]
end

-- What is missing, { from, to, … } by rising sequence, without what came from one sequence to another.
local function without(missing, from, to)
  local left = {}
  for i = 1, #missing, 2 do
    local low, high = missing[i], missing[i + 1]
    if high < from or low > to then
      left[#left + 1], left[#left + 2] = low, high
    else
      if low < from then
        left[#left + 1], left[#left + 2] = low, from - 1
      end
      if high > to then
        left[#left + 1], left[#left + 2] = to + 1, high
      end
    end
  end
  return left
end

-- Takes sequences that came, { from, to, … } by rising sequence, into the highest and what is missing below it.
local function come(highest, missing, ranges)
  for i = 1, #ranges, 2 do
    local from, to = ranges[i], ranges[i + 1]
    missing = from <= highest and without(missing, from, to) or missing
    if highest > 0 and from > highest + 1 then
      missing[#missing + 1], missing[#missing + 2] = highest + 1, from - 1
    end
    highest = math.max(highest, to)
  end
  return highest, missing
end

for _, news in ipairs(unpack_value(ARGV[3])) do
  local counts = counts_events(news[SOURCE])
  if counts ~= nil then
    local node = news[NODE]
    if node ~= '' and call('HEXISTS', cfg, 'node:' .. node) == 0 then
      node, counts = '', false -- heard of the source, but its place is among those of no node
    end
    local field = news[SOURCE] .. ' ' .. node
    local known = call('HGET', PREFIX .. 'fed', field)
    local first, last, event, beat, highest, totals, missing = news[FIRST], news[LAST], news[EVENT], news[BEAT], 0, news[COUNTS], {}
    if known then
      local before = unpack_value(known)
      first = math.min(first, before[1])
      if before[2] > last then
        last, event = before[2], before[3]
      end
      beat, highest, missing = math.max(beat, before[4]), before[5], before[7]
      for i = 1, #totals do
        totals[i] = totals[i] + before[6][i]
      end
    end
    if counts then
      highest, missing = come(highest, missing, news[COME])
      missing = without(missing, 1, news[WHOLE])
      while #missing > 2 * limits.GAPS_KEPT_MAX do
        table.remove(missing, 1)
        table.remove(missing, 1)
      end
    end
    call('HSET', PREFIX .. 'fed', field, pack({ first, last, event, beat, highest, totals, missing }))
  end
end
return refuse('OK')
