#!lua flags=no-writes
--[[ reservations: reads records of reservations: one, those of an order, or a page of the open ones, newest first.
  KEYS[1]  {pool}:pool. Reads rsv:<id>, ord:<ref>, opn
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { 'id', id } or { 'order', reference } or { 'open', offset, count }
  Returns  { { status, detail, revision, time }, then per record its id and its fields and values }:
           UNKNOWN_POOL, POOL_NOT_OPEN (being restored; not for 'open'), OK ]]
--@include pool readable

local by, what, count = unpack(unpack_value(ARGV[3]))
if unreadable() and (by ~= 'open' or not head[1]) then -- the open ones are for the engine itself, which opens the pool with them
  return { refuse(unreadable()) }
end
local ids
if by == 'id' then
  ids = { what }
elseif by == 'order' then
  ids = call('HKEYS', PREFIX .. 'ord:' .. what)
else
  ids = call('ZREVRANGE', PREFIX .. 'opn', what, what + count - 1)
end
local answer = { refuse('OK') }
for _, id in ipairs(ids) do
  local record = call('HGETALL', PREFIX .. 'rsv:' .. id)
  if #record > 0 then
    answer[#answer + 1] = id
    answer[#answer + 1] = record
  end
end
return answer
