#!lua flags=no-writes
--[[ index: reads a part of a large ZSET, for rebuild.
  KEYS[1]  {pool}:pool. Reads any ZSET of the pool
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { name without the prefix, lowest score, at most so many members }
  Returns  { { status, detail, revision, time }, { member, score, … } }: OK ]]
--@include pool

local name, from, most = unpack(unpack_value(ARGV[3]))
return { refuse('OK'), call('ZRANGEBYSCORE', PREFIX .. name, from, '+inf', 'WITHSCORES', 'LIMIT', 0, most) }
