#!lua
--[[ register: makes items known, or states them anew; of an item the latest word counts. What is more than an entry may hold
  goes into the next.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, itm:<sku>, ali:<alias>, wait:<name>, evt:<source> <event id>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Register
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, NOT_AUTHORITY, SEQUENCE_MISSING,
           SEQUENCE_CONFLICT, DUPLICATE, OK;
           with the last two the SKUs and aliases that events wait for ]]
--@include pool ledger rows writable seen statement

local context, event_id, source, sequence, fingerprint, lines, moment = unpack(unpack_value(ARGV[3]))
local from, refusal = hear_statement(REGISTERS_ITEMS, source, event_id, sequence, moment, fingerprint)
if not from then
  return refusal
end
local new, conflicts, waiting, seen = {}, {}, {}, {}

local function look_who_waits(name)
  if not seen[name] then
    seen[name] = true
    if call('EXISTS', PREFIX .. 'wait:' .. name) == 1 then
      waiting[#waiting + 1] = name
    end
  end
end

for _, line in ipairs(lines) do
  local kept = call('HGET', PREFIX .. 'stk:' .. line[1], '@')
  local item = kept and unpack_value(kept) or { 0, 0, 0, 0 }
  local verdict, place = statement_verdict(from, item[2], item[3])
  if verdict == 'new' then
    new[#new + 1] = { line = line, place = place, item = item, known = kept }
  elseif verdict == 'conflict' then
    conflicts[#conflicts + 1] = line[1]
  end
  look_who_waits(line[1])
  for _, alias in ipairs(line[4]) do
    look_who_waits(alias)
  end
end
if #conflicts > 0 then
  return refuse('SEQUENCE_CONFLICT', conflicts)
end

-- What is kept of an item beside its figures, and the names that it gains and loses; returns the most that this adds to an entry.
local function compare_names(n)
  local sku, names, size = n.line[1], n.line[4], 0
  local kept = n.known and call('HMGET', PREFIX .. 'itm:' .. sku, 'details', 'aliases') or {}
  local had, has = {}, {}
  n.details, n.aliases, n.gained, n.lost = kept[1] or '', kept[2] or '', {}, {}
  for _, alias in ipairs(n.aliases ~= '' and unpack_value(n.aliases) or {}) do
    had[alias] = true
    n.lost[#n.lost + 1] = alias
  end
  for _, alias in ipairs(names) do
    has[alias] = true
    size = size + limits.LEDGER_NAME_BYTES + #sku + 2 * #alias
    if not had[alias] then
      n.gained[#n.gained + 1] = alias
    end
  end
  for i = #n.lost, 1, -1 do
    if has[n.lost[i]] then
      table.remove(n.lost, i)
    else
      size = size + limits.LEDGER_NAME_BYTES + #sku + 2 * #n.lost[i]
    end
  end
  return limits.LEDGER_ITEM_BYTES + 3 * #sku + #n.line[3] + size
end

local function restate(sku, field, before, after)
  if after == before then
    return
  elseif after == '' then
    write('HDEL', 'itm:' .. sku, field)
  else
    write('HSET', 'itm:' .. sku, field, after)
  end
end

local bytes = 0
for i, n in ipairs(new) do
  local more = compare_names(n)
  if i > 1 and bytes + more > limits.LEDGER_ENTRY_BYTES_MAX then
    append('item_registered', event_id, context)
    bytes = 0
  end
  bytes = bytes + more
  local sku, safety, details, names = unpack(n.line)
  n.item[1], n.item[2], n.item[3], n.item[4] = safety, n.place, fingerprint, revision + 1
  write('HSET', 'stk:' .. sku, '@', pack(n.item))
  restate(sku, 'details', n.details, details)
  restate(sku, 'aliases', n.aliases, #names > 0 and pack(names) or '')
  for _, alias in ipairs(n.gained) do
    write('HSET', 'ali:' .. alias, sku, 1)
  end
  for _, alias in ipairs(n.lost) do
    write('HDEL', 'ali:' .. alias, sku)
  end
end
if #new > 0 then
  append_statement(from, 'item_registered', context)
end
return pack({ #new > 0 and 'OK' or 'DUPLICATE', {}, revision, now, false, '', 0, {}, {}, waiting })
