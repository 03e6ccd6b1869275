#!lua
--[[ open: opens a pool for the run of the server that the call is sent to, and raises its epoch; makes a pool that does not exist.
  KEYS[1]  {pool}:pool. Touches ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { expected epoch, last revision known to be in JetStream }
  Returns  Result: DUPLICATE if another opened it first, OK ]]
--@include pool ledger

local expected_epoch, published = unpack(unpack_value(ARGV[3]))
if epoch ~= expected_epoch then
  return refuse('DUPLICATE')
end
epoch = epoch + 1
call('HSET', KEYS[1], 'epoch', epoch, 'run', ARGV[1], 'pub', published)
append('open', '', { '', '' })
return refuse('OK')
