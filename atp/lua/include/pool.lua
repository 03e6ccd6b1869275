-- pool: what every script starts from. Names the pool's keys, reads its head and the script time.
-- `limits.NAME` stands for the bound of that name in atp/limits.py; the loader puts its value there.
local call, pack, unpack_value = redis.call, cmsgpack.pack, cmsgpack.unpack
local PREFIX = string.sub(KEYS[1], 1, -5) -- '{pool}:pool' without 'pool'
local head = call('HMGET', KEYS[1], 'rev', 'epoch', 'time', 'run', 'pub')
local revision, epoch = tonumber(head[1]) or 0, tonumber(head[2]) or 0

-- Milliseconds; never before the last entry, so that a failover cannot go back in time. Tests pass a clock.
local now
if ARGV[2] == '' then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
else
  now = tonumber(ARGV[2])
end
now = math.max(now, tonumber(head[3]) or 0)

local function refuse(status, detail)
  return pack({ status, detail or {}, revision, now })
end
