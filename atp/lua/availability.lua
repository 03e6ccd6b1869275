#!lua flags=no-writes
--[[ availability: reads rows of SKUs at nodes; never reaps, but names the due holds so that they can be left out.
  KEYS[1]  {pool}:pool. Reads cfg, stk:<sku>, exp, rsv:<id>
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { channel, nodes (empty: the channel's), SKUs }
  Returns  { { status, detail, revision, time, nodes, due { sku, node, units, picked }, shut nodes }, then per SKU the item and a row per node, as stored };
           it stops at SCRIPT_ROWS_MAX rows, at least one SKU read; the caller asks again for the rest:
           UNKNOWN_POOL, POOL_NOT_OPEN (being restored), UNKNOWN_CHANNEL, UNKNOWN_NODE, NODE_NOT_IN_CHANNEL,
           REAP_MORE (too many due holds: reap first), OK ]]
--@include pool readable due

local channel, nodes, skus = unpack(unpack_value(ARGV[3]))
if unreadable() then
  return { refuse(unreadable()) }
end
local cfg = call('HMGET', PREFIX .. 'cfg', 'channel:' .. channel, 'shut')
if not cfg[1] then
  return { refuse('UNKNOWN_CHANNEL', { channel }) }
end
local sells, shut = unpack_value(cfg[1]), cfg[2] and unpack_value(cfg[2]) or {}
if #nodes == 0 then
  nodes = sells
else
  local serves, unknown, foreign = {}, {}, {}
  for _, node in ipairs(sells) do
    serves[node] = true
  end
  for _, node in ipairs(nodes) do
    if not serves[node] then
      local list = call('HEXISTS', PREFIX .. 'cfg', 'node:' .. node) == 1 and foreign or unknown
      list[#list + 1] = node
    end
  end
  if #unknown > 0 then
    return { refuse('UNKNOWN_NODE', unknown) }
  elseif #foreign > 0 then
    return { refuse('NODE_NOT_IN_CHANNEL', foreign) }
  end
end
local due = due_units(skus)
if not due then
  return { refuse('REAP_MORE') }
end
local answer = { pack({ 'OK', {}, revision, now, nodes, due, shut }) }
local fit = math.max(1, math.floor(limits.SCRIPT_ROWS_MAX / #nodes))
for i = 1, math.min(#skus, fit) do
  for _, cell in ipairs(call('HMGET', PREFIX .. 'stk:' .. skus[i], '@', unpack(nodes))) do
    answer[#answer + 1] = cell
  end
end
return answer
