#!lua
--[[ pick: units taken from their place for a reservation or an order. Where on hand falls at pick it falls now, and each unit is
  matched with what it was picked for: units shipped before their pick was heard of, or an open line; what matches nothing raises an exception.
  Where it falls at issue this is the order's story alone.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, stk:<sku>, win:<sku>, cmp:<sku>, unb:<sku>, shp:<id>, rsv:<id>, ord:<ref>,
           evt:<source> <event>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Pick
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK
  Invariant: what is picked of a line is open ]]
--@include pool ledger rows writable reservation claims window event unbooked

local context, event_id, source, node, sequence, fingerprint, reservation_id, order_reference, lines, moment =
  unpack(unpack_value(ARGV[3]))
local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines, true)
if not from then
  return refusal
end
local cause = reservation_id ~= '' and reservation_id or order_reference ~= '' and order_reference or event_id
if from.falls ~= 'pick' then
  append_event(from, 'pick', cause, context)
  return refuse('OK')
end
local met, conflict = meet_windows(from, lines, function(line)
  return -line[2], 0, 0
end)
if not met then
  return conflict
end
if entry_room(from, met, cause) < 0 then
  return refuse('TOO_MANY_ROWS')
end
local beyond = weigh_deltas(from, met)
if beyond then
  return beyond
end

local room = limits.SETTLED_LINES_MAX
local order = order_reference
local named = load_known(reservation_id ~= '' and { reservation_id } or ids_of_order(order))
if reservation_id ~= '' then
  order = named[1] and named[1].ord or ''
end

-- Calls `take(r, line, number)` for each line of a SKU that is at the node, also where nothing of it is open.
local function each_line(known, sku, take)
  for _, r in ipairs(known) do
    for number, line in ipairs(r.lines) do
      if line[SKU] == sku and line[NODE] == node then
        take(r, line, number)
      end
    end
  end
end

-- The shipments that may have told of what was picked, by id, and the reservations that they are of: those of the reservation named; where
-- one of them is several reservations', those of the whole order.
local function told_before(sku)
  local flat, told, whole = call('HGETALL', PREFIX .. 'unb:' .. sku), {}, false
  for i = 1, #flat, 2 do
    local at, id = string.match(flat[i], '^(%S+) (.+)$')
    if at == node then
      local of = call('HMGET', PREFIX .. 'shp:' .. id, 'rsv', 'ord')
      local of_order = order ~= '' and of[1] == '' and of[2] == order
      told[#told + 1] = { id = id, rsv = of[1], of_order = of_order, units = unpack_value(flat[i + 1])[1] }
      whole = whole or of_order
    end
  end
  local known, ids, meant = whole and load_known(ids_of_order(order)) or named, { [reservation_id] = true }, {}
  for _, r in ipairs(known) do
    ids[r.id] = true
  end
  for _, shipment in ipairs(told) do
    if shipment.of_order or shipment.rsv ~= '' and ids[shipment.rsv] then
      meant[#meant + 1] = shipment
    end
  end
  table.sort(meant, function(a, b)
    return a.id < b.id
  end)
  return meant, known
end

-- Up to so many units had been shipped when their pick was not heard of yet. A snapshot may contain the pick already: then they are no
-- longer shipped unbooked, and count nowhere; as long as picks are missing for more units than stand there, it is those that are heard of.
-- Returns how many units are left.
local function hear_of_shipped(sku, row, most)
  local left, missing, standing = most, 0, 0
  each_line(named, sku, function(r, line, number)
    local heard = math.min(left, line[UNPICKED] or 0)
    if heard > 0 and room > 0 then
      line[UNPICKED] = line[UNPICKED] - heard
      put_line(r, number)
      if not is_open(r) then
        -- In the image too: the record may be gone already where the ledger is replayed, and must not come back to stay.
        local key = 'rsv:' .. r.id
        write('PEXPIREAT', key, call('PEXPIRETIME', PREFIX .. key))
      end
      left, room = left - heard, room - 1
    end
  end)
  local shipments, known = told_before(sku)
  each_line(known, sku, function(_, line)
    missing = missing + (line[UNPICKED] or 0)
  end)
  for _, shipment in ipairs(shipments) do
    standing = standing + shipment.units
  end
  local booked = math.min(most, math.max(0, standing - missing))
  local to_book = booked
  for _, shipment in ipairs(shipments) do
    if to_book > 0 and room > 0 then
      to_book, room = to_book - book(row, sku, node, shipment.id, to_book), room - 1
    end
  end
  return math.min(left, most - booked) + to_book
end

-- Marks open lines as picked. Returns how many units are left.
local function mark(claims, sku, row, left)
  each_line_at(claims, sku, node, function(r, line, number)
    local units = math.min(left, open_units(line) - (line[PICKED] or 0))
    if units > 0 and room > 0 then
      shift(row, sku, node, ROW_PICKED, units)
      line[PICKED] = (line[PICKED] or 0) + units
      put_line(r, number)
      left, room = left - units, room - 1
    end
  end)
  return left
end

local claims = from.is_issuer and claims_of(named)
local without, unmatched = nil, 0
for _, m in ipairs(met) do
  if m.verdict == 'new' then
    apply_line(from, m)
  end
  if claims and m.verdict ~= 'known' then
    m.row = m.row or load_row(m.sku, node)
    local left = mark(claims, m.sku, m.row, hear_of_shipped(m.sku, m.row, m.line[2]))
    -- What a later snapshot contains and matches nothing was put back, or is nobody's: only what lowered the stock is told.
    if left > 0 and m.verdict == 'new' then
      without, unmatched = without or m.sku, unmatched + left
    end
  end
end
if unmatched > 0 then
  raise('pick:' .. source .. '/' .. event_id, 'PICK_WITHOUT_ALLOCATION', 'open', without, node, cause, unmatched)
end
for _, m in ipairs(met) do
  if m.row and m.row.shifted then
    put_row(m.sku, node, m.row, cause)
  end
end
append_event(from, 'pick', cause, context)
return refuse('OK')
