#!lua
--[[ setitemstates: blocks items, frees them, or marks them as discontinued; of an item's state the latest word counts.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, evt:<source> <event id>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.SetItemStates
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, NOT_AUTHORITY, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, DUPLICATE, OK ]]
--@include pool ledger rows writable seen statement

local context, event_id, source, sequence, fingerprint, lines, moment = unpack(unpack_value(ARGV[3]))
local from, refusal = hear_statement(REGISTERS_ITEMS, source, event_id, sequence, moment, fingerprint)
if not from then
  return refusal
elseif from.is_known then
  return refuse('DUPLICATE')
end
local new, unknown, conflicts = {}, {}, {}
for _, line in ipairs(lines) do
  local kept = call('HGET', PREFIX .. 'stk:' .. line[1], '@')
  if kept then
    local item = unpack_value(kept)
    local verdict, place = statement_verdict(from, item[6] or 0, item[7] or 0)
    if verdict == 'new' then
      new[#new + 1] = { line = line, place = place, item = item }
    elseif verdict == 'conflict' then
      conflicts[#conflicts + 1] = line[1]
    end
  else
    unknown[#unknown + 1] = line[1]
  end
end
if #unknown > 0 then
  return refuse('UNKNOWN_SKU', unknown)
elseif #conflicts > 0 then
  return refuse('SEQUENCE_CONFLICT', conflicts)
elseif #new == 0 then
  return refuse('DUPLICATE')
end

for _, n in ipairs(new) do
  n.item[4], n.item[5], n.item[6], n.item[7] = revision + 1, n.line[2], n.place, fingerprint
  write('HSET', 'stk:' .. n.line[1], '@', pack(n.item))
end
append_statement(from, 'item_state_changed', context)
return refuse('OK')
