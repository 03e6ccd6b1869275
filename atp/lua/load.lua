#!lua
--[[ load: puts a checkpoint into a store, in place of all that it has of the pool; only while the pool is not open.
  KEYS[1]  {pool}:pool. Touches any key of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { token, step, … }, the token being the loader's own; the steps:
             begin, revision: takes the pool, if it is at that revision; the loader then clears all keys but this one
             clear, name, …: keys without the prefix
             put: ARGV[4…] are pieces as copy gave them
             end, revision, epoch, time: what the pool says of itself from then on; entries that follow are replayed
           Until the pool is opened it is marked as being restored: reads would find half of it
  Returns  Result: DUPLICATE if the pool is open or at another revision, or is another loader's; OK ]]
--@include pool

local request = unpack_value(ARGV[3])
local token, step = request[1], request[2]
local holder = call('HMGET', KEYS[1], 'load', 'load_at')
local is_ours = holder[1] == token

local function put(piece)
  for _, record in ipairs(unpack_value(piece)) do
    local key = PREFIX .. record[2]
    if record[1] == 'ZADD' then
      call('ZADD', key, unpack(record[4]))
    else
      call('HSET', key, unpack(record[4]))
    end
    if record[3] > 0 then
      -- As in replay: it must not vanish before later entries have been applied to it.
      call('PEXPIREAT', key, math.max(record[3], now + limits.RESTORED_KEPT_MS))
    end
  end
end

if step == 'begin' then
  local is_taken = holder[1] and not is_ours and now - tonumber(holder[2]) < limits.LOAD_LEASE_MS
  if head[4] == ARGV[1] or is_taken or revision ~= request[3] then
    return refuse('DUPLICATE')
  end
  call('HSET', KEYS[1], 'rev', 0, 'epoch', 0, 'time', 0, 'run', 'restoring')
elseif not is_ours or head[4] == ARGV[1] then
  return refuse('DUPLICATE')
elseif step == 'clear' then
  for i = 3, #request do
    call('DEL', PREFIX .. request[i])
  end
elseif step == 'put' then
  for i = 4, #ARGV do
    put(ARGV[i])
  end
else
  call('HDEL', KEYS[1], 'load', 'load_at')
  call('HSET', KEYS[1], 'rev', request[3], 'epoch', request[4], 'time', request[5], 'run', 'restoring')
  return refuse('OK')
end
call('HSET', KEYS[1], 'load', token, 'load_at', now)
return refuse('OK')
