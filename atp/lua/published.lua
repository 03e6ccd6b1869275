#!lua
--[[ published: notes how far JetStream has the ledger, and trims what it has, but for the latest entries.
  KEYS[1]  {pool}:pool. Touches ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { last published revision }
  Returns  Result: POOL_NOT_OPEN, OK ]]
--@include pool

if head[4] ~= ARGV[1] then
  return refuse('POOL_NOT_OPEN')
end
local published = unpack_value(ARGV[3])[1]
if published > tonumber(head[5]) then
  call('HSET', KEYS[1], 'pub', published)
  local first_kept = math.min(published, revision - limits.LEDGER_KEPT_MIN) + 1
  if first_kept > 1 then
    call('XTRIM', PREFIX .. 'ledger', 'MINID', '~', string.format('%d-0', first_kept))
  end
end
return refuse('OK')
