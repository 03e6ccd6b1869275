#!lua flags=no-writes
--[[ contents: reads whole keys at one revision, for verify and rebuild.
  KEYS[1]  {pool}:pool. Reads any key of the pool
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  names without the prefix, of HASH and ZSET keys
  ARGV[4]  with how many fields it is enough: names behind that are left out; may be missing
  Returns  { { status, detail, revision, time }, { expiry in ms or 0, … }, then per name { field, value, … } or { member, score, … } }: OK ]]
--@include pool

local enough, fields = tonumber(ARGV[4]) or math.huge, 0
local expiries = {}
local answer = { refuse('OK'), expiries }
for _, name in ipairs(unpack_value(ARGV[3])) do
  local key, flat = PREFIX .. name, {}
  local kind = call('TYPE', key).ok
  if kind == 'hash' then
    flat = call('HGETALL', key)
  elseif kind == 'zset' then
    flat = call('ZRANGE', key, 0, -1, 'WITHSCORES')
  end
  expiries[#expiries + 1] = math.max(0, call('PEXPIRETIME', key))
  answer[#answer + 1] = flat
  fields = fields + #flat / 2
  if fields >= enough then
    break
  end
end
return answer
