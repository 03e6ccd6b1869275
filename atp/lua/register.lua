#!lua
--[[ register: makes SKUs known, or changes what is kept with them; later sequences win.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, wait:<sku>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Register
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, NOT_AUTHORITY, SEQUENCE_CONFLICT, DUPLICATE, OK;
           with the last two the SKUs that events wait for ]]
--@include pool ledger rows writable

local context, event_id, source, sequence, fingerprint, lines = unpack(unpack_value(ARGV[3]))
local registers = call('HGET', PREFIX .. 'cfg', 'source:' .. source)
if not registers then
  return refuse('UNKNOWN_SOURCE', { source })
elseif unpack_value(registers)[1] ~= 1 then
  return refuse('NOT_AUTHORITY', { source })
end

local new, conflicts, waiting = {}, {}, {}
for _, line in ipairs(lines) do
  local kept = call('HGET', PREFIX .. 'stk:' .. line[1], '@')
  local item = kept and unpack_value(kept) or { 0, 0, 0, 0 }
  if sequence > item[2] then
    new[#new + 1] = line
  elseif sequence == item[2] and fingerprint ~= item[3] then
    conflicts[#conflicts + 1] = line[1]
  end
  if call('EXISTS', PREFIX .. 'wait:' .. line[1]) == 1 then
    waiting[#waiting + 1] = line[1]
  end
end
if #conflicts > 0 then
  return refuse('SEQUENCE_CONFLICT', conflicts)
end
for _, line in ipairs(new) do
  write('HSET', 'stk:' .. line[1], '@', pack({ line[2], sequence, fingerprint, revision + 1 }))
end
if #new > 0 then
  append('item_registered', event_id, context)
end
return pack({ #new > 0 and 'OK' or 'DUPLICATE', {}, revision, now, false, '', 0, {}, {}, waiting })
