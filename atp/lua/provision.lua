#!lua
--[[ provision: writes nodes, channels and sources that are new or differ; takes nothing away.
  KEYS[1]  {pool}:pool. Touches cfg, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Provision
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, OK ]]
--@include pool ledger rows writable

local context, nodes, channels, sources = unpack(unpack_value(ARGV[3]))
local wanted = {}
for _, node in ipairs(nodes) do
  wanted[#wanted + 1] = { 'node:' .. node[1], pack({ node[2], node[3], node[4], node[5], node[6] }) }
end
for _, channel in ipairs(channels) do
  wanted[#wanted + 1] = { 'channel:' .. channel[1], pack(channel[2]) }
end
for _, source in ipairs(sources) do
  local fields = { source[2] and 1 or 0, source[3] and 1 or 0, source[4], source[5], source[6], source[7] }
  wanted[#wanted + 1] = { 'source:' .. source[1], pack(fields) }
end

local changed = 0
for _, field in ipairs(wanted) do
  if call('HGET', PREFIX .. 'cfg', field[1]) ~= field[2] then
    write('HSET', 'cfg', field[1], field[2])
    changed = changed + 1
  end
end
if changed > 0 then
  append('provision', '', context)
end
return refuse('OK')
