#!lua
--[[ transfer: one end of a transfer between nodes. On hand falls where units left and rises where they came; in whatever order the two
  ends tell, what has left and not come is in transit at the destination.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, stk:<sku>, win:<sku>, cmp:<sku>, trf:<id>, evt:<source> <event>, ledger of
           the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Transfer
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK
  Invariant: nothing in transit is below 0 ]]
--@include pool ledger rows writable window event

local context, event_id, kind, source, node, sequence, fingerprint, transfer_id, other_node, lines, moment = unpack(unpack_value(ARGV[3]))
local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines, true)
if not from then
  return refusal
end
local leaves = kind == 'transfer_out'
local met, conflict = meet_windows(from, lines, function(line)
  return leaves and -line[2] or line[2], 0, 0
end)
if not met then
  return conflict
end
if entry_room(from, met, transfer_id) < 0 then
  return refuse('TOO_MANY_ROWS')
end
local beyond = weigh_deltas(from, met)
if beyond then
  return beyond
end

-- Of each SKU: units that left, that came, and that stand in transit in the row of the destination.
local LEFT, CAME, STANDS = 1, 2, 3
local key, to, sender, units, has_left, stood = 'trf:' .. transfer_id, nil, nil, {}, false, 0

-- How much more came than is known to have left, and the lowest such SKU. Where nothing is known to have left, only one end tells.
local function excess()
  local sum, first, any = 0, nil, false
  for sku, u in pairs(units) do
    any = any or u[LEFT] > 0
    if u[CAME] > u[LEFT] then
      sum = sum + u[CAME] - u[LEFT]
      first = (not first or sku < first) and sku or first
    end
  end
  return any and sum or 0, first
end

-- Counts a line; returns by how much what is in transit changes.
local function count_line(m, is_ours)
  local u = units[m.sku] or { 0, 0, 0 }
  units[m.sku] = u
  local which = leaves and LEFT or CAME
  u[which] = u[which] + m.line[2]
  local before = u[STANDS]
  u[STANDS] = is_ours and math.max(0, u[LEFT] - u[CAME]) or 0
  return u[STANDS] - before
end

if from.is_issuer then
  local flat = call('HGETALL', PREFIX .. key)
  for i = 1, #flat, 2 do
    if flat[i] == 'to' then
      to = flat[i + 1]
    elseif flat[i] == 'from' then
      sender = flat[i + 1]
    else
      local u = unpack_value(flat[i + 1])
      units[string.sub(flat[i], 5)] = u
      has_left, stood = has_left or u[LEFT] > 0, stood + u[STANDS]
    end
  end
  local was, was_first = excess()
  if leaves and not has_left or not to then -- who sends says where it goes, and until then who receives
    to, sender = leaves and other_node or node, leaves and node or other_node
  end
  local is_ours, stands, too_many = call('HEXISTS', PREFIX .. 'cfg', 'node:' .. to) == 1, stood, {}
  for _, m in ipairs(met) do
    if m.verdict ~= 'known' then
      m.moved = count_line(m, is_ours)
      stands = stands + m.moved
      if m.moved ~= 0 then
        m.destination = to == node and m.row or load_row(m.sku, to)
        too_many[#too_many + 1] = out_of_range(m.destination, IN_TRANSIT, m.moved) and m.sku or nil
      end
    end
  end
  if #too_many > 0 then
    return refuse('QUANTITY_OUT_OF_RANGE', too_many)
  end
  if not flat[1] then
    begin(key)
  elseif stood == 0 and stands > 0 then
    write('PERSIST', key)
  end
  write('HSET', key, 'to', to, 'from', sender)
  for _, m in ipairs(met) do
    if m.moved then
      write('HSET', key, 'sku:' .. m.sku, pack(units[m.sku]))
    end
  end
  if stands == 0 then
    write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
  end
  local is, is_first = excess()
  if is ~= was then
    raise('trf:' .. transfer_id, 'TRANSFER_DIFFERS', is > 0 and 'open' or 'resolved', is_first or was_first, to, transfer_id, is)
  end
end
for _, m in ipairs(met) do
  if m.verdict == 'new' then
    apply_line(from, m)
  end
  if m.destination then
    shift(m.destination, m.sku, to, IN_TRANSIT, m.moved)
    if m.destination ~= m.row then
      put_row(m.sku, to, m.destination, transfer_id)
    end
  end
  if m.row then
    put_row(m.sku, node, m.row, transfer_id)
  end
end
append_event(from, kind, transfer_id, context)
return refuse('OK')
