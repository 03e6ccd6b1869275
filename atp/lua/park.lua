#!lua
--[[ park: keeps an event that overtook the registration of its item, with an exception that says so.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, ali:<alias>, wait:<name>, wtg, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Park
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, SKU_KNOWN, DUPLICATE, WAITING_FULL, OK ]]
--@include pool ledger rows writable waiting

local context, sku, key, original, is_alias = unpack(unpack_value(ARGV[3]))
local wait, source = 'wait:' .. sku, string.match(key, '^[^/]*')
if call('HEXISTS', PREFIX .. 'cfg', 'source:' .. source) == 0 then
  return refuse('UNKNOWN_SOURCE', { source }) -- who is nobody's source must not fill the store with what waits
end
if is_known(sku, is_alias) then
  return refuse('SKU_KNOWN')
elseif call('HEXISTS', PREFIX .. wait, key) == 1 then
  return refuse('DUPLICATE')
end
local bytes = (tonumber(call('HGET', PREFIX .. 'wtg', 'bytes')) or 0) + #original
if call('HLEN', PREFIX .. wait) >= limits.WAITING_PER_SKU_MAX or bytes > limits.WAITING_BYTES_MAX then
  return refuse('WAITING_FULL')
end
write('HSET', wait, key, original)
write('HSET', 'wtg', 'bytes', bytes)
raise('wait:' .. key, 'UNKNOWN_SKU', 'open', sku, '', key, 0)
append('park', key, context)
return refuse('OK')
