#!lua
--[[ unpark: lets go of a parked event that has had its verdict, or is not to have one, and resolves its exception.
  KEYS[1]  {pool}:pool. Touches stk:<sku>, ali:<alias>, wait:<name>, wtg, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Unpark
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, DUPLICATE, SKU_KNOWN, OK ]]
--@include pool ledger rows writable waiting

local context, sku, key, discards, is_alias = unpack(unpack_value(ARGV[3]))
local original = call('HGET', PREFIX .. 'wait:' .. sku, key)
if not original then
  return refuse('DUPLICATE')
elseif discards and is_known(sku, is_alias) then
  return refuse('SKU_KNOWN') -- whoever made it known gives the event its turn, and may be at it
end
local bytes = tonumber(call('HGET', PREFIX .. 'wtg', 'bytes')) - #original
write('HDEL', 'wait:' .. sku, key)
if bytes > 0 then
  write('HSET', 'wtg', 'bytes', bytes)
else
  write('HDEL', 'wtg', 'bytes')
end
raise('wait:' .. key, 'UNKNOWN_SKU', 'resolved', sku, '', key, 0)
append('unpark', key, context)
return refuse('OK')
