#!lua
--[[ close: lets nobody write any more until the pool is opened, whatever run of the server they know; no ledger entry.
  KEYS[1]  {pool}:pool. Touches nothing else
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { expected epoch }
  Returns  Result: DUPLICATE if another opened it meanwhile, OK ]]
--@include pool

if epoch ~= unpack_value(ARGV[3])[1] then
  return refuse('DUPLICATE')
end
if head[1] and head[4] ~= 'restoring' then -- one that is only half there stays marked
  call('HSET', KEYS[1], 'run', '')
end
return refuse('OK')
