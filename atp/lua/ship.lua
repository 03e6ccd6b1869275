#!lua
--[[ ship: a shipment as a source reports it. If it is the issuer of the node it happened: on hand falls whatever was allocated, the
  allocation is settled once, and what finds none raises an exception. What others say is kept for comparison.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, stk:<sku>, win:<sku>, cmp:<sku>, unb:<sku>, rsv:<id>, shp:<id>, exp, opn,
           ord:<ref>, evt:<source> <event>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Ship
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, SHIPMENT_CONFLICT, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK ]]
--@include pool ledger rows writable reservation window event unbooked

local context, event_id, source, node, sequence, fingerprint, shipment_id, reservation_id, lines, moment, _, kind =
  unpack(unpack_value(ARGV[3]))
local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines)
if not from then
  return refusal
end
local met, conflict, new, already = meet_windows(from, lines, function(line)
  return -line[2], 0, 0
end)
if not met then
  return conflict
elseif already == #lines or (new == 0 and not from.is_issuer) then
  return refuse('DUPLICATE')
end

local key, moves = 'shp:' .. shipment_id, {}
for i, line in ipairs(lines) do
  moves[i] = { 0, line[1], node, line[2] }
end
local booked = add_up(moves)
local known = from.is_issuer and call('HMGET', PREFIX .. key, 'node', 'rsv', 'settled', 'booked') or {}
if known[1] and known[1] ~= node then
  return refuse('SHIPMENT_CONFLICT', { 'node' })
elseif known[1] and known[2] ~= '' and reservation_id ~= '' and known[2] ~= reservation_id then
  return refuse('SHIPMENT_CONFLICT', { 'reservation_id' })
elseif known[4] and same_units(booked, unpack_value(known[4])) then
  return refuse('DUPLICATE')
elseif known[4] then
  return refuse('SHIPMENT_CONFLICT', { 'lines' })
end
if entry_room(from, met, shipment_id) < 0 then
  return refuse('TOO_MANY_ROWS')
end
local beyond = weigh_deltas(from, met)
if beyond then
  return beyond
end

local rows, order = {}, {}
for i, m in ipairs(met) do
  rows[m.sku], order[i] = m.row or load_row(m.sku, node), m.sku
  if m.verdict == 'new' then
    apply_line(from, m)
  end
end
if not from.is_issuer then
  append_event(from, kind, shipment_id, context)
  return refuse('OK')
end

local function tell(reason, sku, quantity)
  raise('ship:' .. shipment_id, reason, 'open', sku, node, shipment_id, quantity)
end

-- The lowest SKU whose units differ between two flat lists { sku, quantity, … } by rising SKU.
local function first_difference(a, b)
  local i = 1
  while a[i] == b[i] and a[i + 1] == b[i + 1] do
    i = i + 2
  end
  local left, right = a[i] or b[i], b[i] or a[i]
  return left < right and left or right
end

-- Fulfil was here first: its units are booked now, at the authority's own figures.
local function book_settled()
  local settled, difference = unpack_value(known[3]), 0
  for i = 1, #settled, 2 do
    local sku = settled[i]
    if not rows[sku] then
      rows[sku], order[#order + 1] = load_row(sku, node), sku
    end
    book(rows[sku], sku, node, shipment_id)
    difference = difference - settled[i + 1]
  end
  if not same_units(settled, booked) then
    for i = 2, #booked, 2 do
      difference = difference + booked[i]
    end
    tell('SHIPMENT_DIFFERS', first_difference(settled, booked), math.abs(difference))
  end
end

-- Settles what the reservation has open at this node; returns the moves, their units, the units that found no allocation and the first such SKU.
local function settle(r)
  local settled, shipped, unmatched, without = {}, 0, 0, nil
  for _, line in ipairs(lines) do
    local sku, left = line[1], line[2]
    for number, allocation in ipairs(r and r.lines or {}) do
      local units = allocation[SKU] == sku and allocation[NODE] == node and math.min(left, open_units(allocation)) or 0
      if units > 0 then
        shift(rows[sku], sku, node, bucket(r), -units)
        allocation[SHIPPED] = allocation[SHIPPED] + units
        put_line(r, number)
        settled[#settled + 1] = { number, sku, node, units }
        shipped = shipped + units
        left = left - units
      end
    end
    unmatched = unmatched + left
    without = without or left > 0 and sku or nil
  end
  return settled, shipped, unmatched, without
end

if known[3] then
  book_settled()
else
  local r = reservation_id ~= '' and load_reservation(reservation_id) or nil
  if r and r.state ~= 'HELD' and r.state ~= 'CONFIRMED' then
    r = nil
  end
  local settled, shipped, unmatched, without = settle(r)
  if unmatched > 0 then
    tell('SHIPMENT_WITHOUT_ALLOCATION', without, unmatched)
  elseif r.state == 'HELD' then
    tell('SHIPMENT_UNCONFIRMED', lines[1][1], shipped)
  end
  begin(key)
  write('HSET', key, 'node', node, 'rsv', reservation_id, 'at', now, 'open', 0)
  if #settled > 0 then
    finish_if_done(r)
    write('HSET', key, 'settled', pack(add_up(settled)), 'first', pack({ revision + 1, now, r.state, flatten(settled) }))
  end
end
for _, sku in ipairs(order) do
  if rows[sku].shifted then
    put_row(sku, node, rows[sku], shipment_id)
  end
end
write('HSET', key, 'booked', pack(booked))
write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
append_event(from, kind, shipment_id, context)
return refuse('OK')
