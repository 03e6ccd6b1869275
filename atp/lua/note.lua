#!lua
--[[ note: what moves no stock and yet belongs to the story of an order or a reservation.
  KEYS[1]  {pool}:pool. Touches cfg, evt:<source> <event>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Note
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_CONFLICT, DUPLICATE, OK ]]
--@include pool ledger rows writable seen

local context, event_id, kind, source, node, fingerprint, about = unpack(unpack_value(ARGV[3]))
local cfg = call('HMGET', PREFIX .. 'cfg', 'source:' .. source, 'node:' .. node)
if not cfg[1] then
  return refuse('UNKNOWN_SOURCE', { source })
elseif not cfg[2] then
  return refuse('UNKNOWN_NODE', { node })
end
local seen = refuse_seen(source, event_id, fingerprint)
if seen then
  return seen
end
keep_seen(source, event_id, fingerprint)
append(kind, about ~= '' and about or event_id, context)
return refuse('OK')
