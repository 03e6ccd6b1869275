#!lua flags=no-writes
--[[ explain: one row with the ledger entry that last changed it, and whose word counts at its node.
  KEYS[1]  {pool}:pool. Reads cfg, stk:<sku>, exp, rsv:<id>, ledger
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { SKU, node }
  Returns  { { status, detail, revision, time, {}, due { sku, node, units } }, item, row, entry, node, location }, all as stored, absent
           ones false:
           UNKNOWN_POOL, POOL_NOT_OPEN (being restored), UNKNOWN_NODE, UNKNOWN_SKU, REAP_MORE (too many due holds: reap first), OK ]]
--@include pool readable due

local sku, node = unpack(unpack_value(ARGV[3]))
if unreadable() then
  return { refuse(unreadable()) }
end
local cfg = call('HMGET', PREFIX .. 'cfg', 'node:' .. node, 'loc:' .. node)
if not cfg[1] then
  return { refuse('UNKNOWN_NODE', { node }) }
end
local cells = call('HMGET', PREFIX .. 'stk:' .. sku, '@', node)
if not cells[1] then
  return { refuse('UNKNOWN_SKU', { sku }) }
end
local due = due_units({ sku })
if not due then
  return { refuse('REAP_MORE') }
end
local entry = false
if cells[2] then
  local id = string.format('%d-0', unpack_value(cells[2])[7])
  local found = call('XRANGE', PREFIX .. 'ledger', id, id)
  entry = found[1] and found[1][2][2] or false
end
return { pack({ 'OK', {}, revision, now, {}, due }), cells[1], cells[2], entry, cfg[1], cfg[2] }
