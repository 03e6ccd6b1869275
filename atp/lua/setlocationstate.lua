#!lua
--[[ setlocationstate: blocks or closes a location, or opens it again; the latest word counts. Nothing is promised from one that is shut.
  KEYS[1]  {pool}:pool. Touches cfg, evt:<source> <event id>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.SetLocationState
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, NOT_AUTHORITY, SEQUENCE_MISSING, UNKNOWN_NODE,
           SEQUENCE_CONFLICT, DUPLICATE, OK ]]
--@include pool ledger rows writable seen statement bytes

local context, event_id, source, node, sequence, fingerprint, state, moment = unpack(unpack_value(ARGV[3]))
local from, refusal = hear_statement(REGISTERS_LOCATIONS, source, event_id, sequence, moment, fingerprint)
if not from then
  return refusal
elseif from.is_known then
  return refuse('DUPLICATE')
end
local cfg = call('HMGET', PREFIX .. 'cfg', 'node:' .. node, 'loc:' .. node, 'shut')
if not cfg[1] then
  return refuse('UNKNOWN_NODE', { node })
end
local location = cfg[2] and unpack_value(cfg[2]) or { 0, 0, 0, 0, 0 }
local verdict, place = statement_verdict(from, location[4], location[5])
if verdict == 'conflict' then
  return refuse('SEQUENCE_CONFLICT', { node })
elseif verdict ~= 'new' then
  return refuse('DUPLICATE')
end

location[3], location[4], location[5] = state, place, fingerprint
write('HSET', 'cfg', 'loc:' .. node, pack(location))
-- The nodes that are shut, in one field, since every promise reads it.
local shut = state ~= 0 and { node } or {}
for _, other in ipairs(cfg[3] and unpack_value(cfg[3]) or {}) do
  if other ~= node then
    shut[#shut + 1] = other
  end
end
table.sort(shut, is_before)
if #shut > 0 then
  write('HSET', 'cfg', 'shut', pack(shut))
elseif cfg[3] then
  write('HDEL', 'cfg', 'shut')
end
append_statement(from, 'location_state_changed', context)
return refuse('OK')
