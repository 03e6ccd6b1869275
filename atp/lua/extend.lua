#!lua
--[[ extend: moves the expiry of a hold further away, never nearer.
  KEYS[1]  {pool}:pool. Touches stk:<sku>, rsv:<id>, exp, opn, ord:<ref>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Extend
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_RESERVATION, KEY_REUSED, OPERATIONS_FULL, CONFIRMED,
           FULFILLED, RELEASED, EXPIRED, OK ]]
--@include pool ledger rows writable reservation

local context, id, key, fingerprint, ttl = unpack(unpack_value(ARGV[3]))
local r = load_reservation(id)
if not r then
  return refuse('UNKNOWN_RESERVATION', { id })
end
local known = known_operation(r, key, 'extend', fingerprint, 'ttl_ms')
if known then
  return known
elseif r.operations >= limits.OPERATIONS_FOR_ANY then
  return refuse('OPERATIONS_FULL')
elseif r.state ~= 'HELD' then
  return refuse(r.state)
end

r.expire = math.max(r.expire, now + ttl)
write('HSET', 'rsv:' .. id, 'exp', r.expire)
write('ZADD', 'exp', r.expire, id)
local answer = keep(r, key, 'extend', fingerprint, {})
append('extend', id, context)
return answer
