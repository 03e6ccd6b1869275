#!lua
--[[ unpark: lets go of a parked event that has had its verdict, and resolves its exception.
  KEYS[1]  {pool}:pool. Touches wait:<sku>, wtg, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Unpark
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, DUPLICATE, OK ]]
--@include pool ledger rows writable

local context, sku, key = unpack(unpack_value(ARGV[3]))
local original = call('HGET', PREFIX .. 'wait:' .. sku, key)
if not original then
  return refuse('DUPLICATE')
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
