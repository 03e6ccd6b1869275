#!lua
--[[ complete: all parts of a full snapshot have come and what they left out was counted as 0; from now on what is older is superseded,
  whatever SKU it names. Once that was looked through again it is done, and its parts need to be known no longer.
  KEYS[1]  {pool}:pool. Touches syn:<node> <source>, prt:<node> <source> <sequence>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Complete
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, DUPLICATE, OK ]]
--@include pool ledger rows writable

local context, source, node, sequence, done = unpack(unpack_value(ARGV[3]))
local parts_key, full_key = string.format('prt:%s %s %d', node, source, sequence), 'syn:' .. node .. ' ' .. source
local is_news = sequence > (tonumber(call('HGET', PREFIX .. full_key, 'full')) or 0)
if call('EXISTS', PREFIX .. parts_key) == 0 or not (done or is_news) then
  return refuse('DUPLICATE')
end
if done then
  write('DEL', parts_key)
end
if is_news then
  write('HSET', full_key, 'full', sequence)
end
append('complete', '', context)
return refuse('OK')
