#!lua flags=no-writes
--[[ contents: reads whole keys at one revision, for verify and rebuild.
  KEYS[1]  {pool}:pool. Reads any key of the pool
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  names without the prefix, of HASH and ZSET keys
  Returns  { { status, detail, revision, time }, then per name { field, value, … } or { member, score, … } }: OK ]]
--@include pool

local answer = { refuse('OK') }
for _, name in ipairs(unpack_value(ARGV[3])) do
  local kind = call('TYPE', PREFIX .. name).ok
  if kind == 'hash' then
    answer[#answer + 1] = call('HGETALL', PREFIX .. name)
  elseif kind == 'zset' then
    answer[#answer + 1] = call('ZRANGE', PREFIX .. name, 0, -1, 'WITHSCORES')
  else
    answer[#answer + 1] = {}
  end
end
return answer
