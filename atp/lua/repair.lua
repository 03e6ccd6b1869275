#!lua
--[[ repair: figures that a person puts right, with a reason; each only as long as it is what the person took it to be. All lines or none.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, rep:<id>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Repair
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, DUPLICATE, KEY_REUSED, UNKNOWN_NODE, UNKNOWN_SKU, FIGURE_MOVED,
           QUANTITY_OUT_OF_RANGE, OK
  Invariant: none that it could check: whether a counter is the sum of its records the caller knows, and the auditor ]]
--@include pool ledger rows writable

local SKU, NODE, TERM, EXPECTED, WANTED = 1, 2, 3, 4, 5 -- of a line
local context, repair_id, reason, fingerprint, lines = unpack(unpack_value(ARGV[3]))
local key = 'rep:' .. repair_id
local known = call('HGET', PREFIX .. key, 'fp')
if known then
  return tonumber(known) == fingerprint and refuse('DUPLICATE') or refuse('KEY_REUSED', { 'repair_id' })
end

local number_of = {}
for number, term in ipairs(TERMS) do
  number_of[term] = number
end
local no_node, no_sku, moved, beyond, rows, order = {}, {}, {}, {}, {}, {}
for _, line in ipairs(lines) do
  local sku, node, term = line[SKU], line[NODE], number_of[line[TERM]]
  if call('HEXISTS', PREFIX .. 'cfg', 'node:' .. node) == 0 then
    no_node[#no_node + 1] = node
  end
  if call('HEXISTS', PREFIX .. 'stk:' .. sku, '@') == 0 then
    no_sku[#no_sku + 1] = sku
  end
  local name = node .. ' ' .. sku
  if not rows[name] then
    rows[name] = load_row(sku, node)
    order[#order + 1] = { sku = sku, node = node, row = rows[name] }
  end
  local is = rows[name][term] or 0
  if is ~= line[EXPECTED] then
    moved[#moved + 1] = string.format('%s/%s/%s=%d', sku, node, line[TERM], is)
  end
  if math.abs(line[WANTED]) > limits.FIGURE_MAX or (term > QUALITY_HOLD and line[WANTED] < 0) then
    beyond[#beyond + 1] = sku
  end
end
if #no_node > 0 then
  return refuse('UNKNOWN_NODE', no_node)
elseif #no_sku > 0 then
  return refuse('UNKNOWN_SKU', no_sku)
elseif #moved > 0 then
  return refuse('FIGURE_MOVED', moved)
elseif #beyond > 0 then
  return refuse('QUANTITY_OUT_OF_RANGE', beyond)
end

for _, line in ipairs(lines) do
  shift(rows[line[NODE] .. ' ' .. line[SKU]], line[SKU], line[NODE], number_of[line[TERM]], line[WANTED] - line[EXPECTED])
end
for _, one in ipairs(order) do
  put_row(one.sku, one.node, one.row, repair_id)
end
write('HSET', key, 'fp', fingerprint, 'reason', reason)
write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
append('repair', repair_id, context)
return refuse('OK')
