#!lua
--[[ locate: makes a location known, or states it anew; the latest word counts. Its authorities are provisioned, not told.
  KEYS[1]  {pool}:pool. Touches cfg, evt:<source> <event id>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Locate
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, NOT_AUTHORITY, SEQUENCE_MISSING, SEQUENCE_CONFLICT,
           DUPLICATE, OK ]]
--@include pool ledger rows writable seen statement

local context, event_id, source, node, sequence, fingerprint, kind, time_zone, moment = unpack(unpack_value(ARGV[3]))
local from, refusal = hear_statement(REGISTERS_LOCATIONS, source, event_id, sequence, moment, fingerprint)
if not from then
  return refusal
end
local cfg = call('HMGET', PREFIX .. 'cfg', 'node:' .. node, 'loc:' .. node)
local location = cfg[2] and unpack_value(cfg[2]) or { 0, 0, 0, 0, 0 }
local verdict, place = statement_verdict(from, location[1], location[2])
if verdict == 'conflict' then
  return refuse('SEQUENCE_CONFLICT', { node })
elseif verdict ~= 'new' then
  return refuse('DUPLICATE')
end

local at = cfg[1] and unpack_value(cfg[1]) or { '', '', '', '', '' }
location[1], location[2] = place, fingerprint
write('HSET', 'cfg', 'node:' .. node, pack({ kind, time_zone, at[3], at[4], at[5] }), 'loc:' .. node, pack(location))
append_statement(from, 'location_registered', context)
return refuse('OK')
