#!lua
--[[ replay: makes again what ledger entries say, for a store that lost them; only while the pool is not open.
  KEYS[1]  {pool}:pool. Touches any key of the pool that the entries name
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3…] the entries, in order, the first following the store's revision
           Until the pool is opened it is marked as being restored: reads would find half of it
  Returns  Result: DUPLICATE if the pool is open or a checkpoint is being loaded, SEQUENCE_CONFLICT if an entry does not follow, OK ]]
--@include pool

if head[4] == ARGV[1] or call('HGET', KEYS[1], 'load') then
  return refuse('DUPLICATE')
end

local time, odd = tonumber(head[3]) or 0, nil
call('HSET', KEYS[1], 'run', 'restoring')
for i = 3, #ARGV do
  local entry = unpack_value(ARGV[i])
  if entry[2] ~= revision + 1 then
    odd = tostring(entry[2])
    break
  end
  for _, image in ipairs(entry[10]) do
    image[2] = PREFIX .. image[2]
    if image[1] == 'PEXPIREAT' then
      -- A record past its retention must not vanish before later entries have been applied to it.
      image[3] = math.max(image[3], now + limits.RESTORED_KEPT_MS)
    end
    call(unpack(image))
  end
  revision, epoch, time = entry[2], entry[3], entry[4]
end
call('HSET', KEYS[1], 'rev', revision, 'epoch', epoch, 'time', time)
return odd and refuse('SEQUENCE_CONFLICT', { odd }) or refuse('OK')
