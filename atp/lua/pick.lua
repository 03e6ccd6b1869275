#!lua
--[[ pick: units taken from their place for a reservation or an order. Where on hand falls at pick it falls now, and each unit is
  matched with what it was picked for: a shipment that told of it before, or an open line; what matches nothing raises an exception.
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
local order, meant = order_reference, {}
if reservation_id ~= '' then
  order = call('HGET', PREFIX .. 'rsv:' .. reservation_id, 'ord') or ''
end
for _, id in ipairs(reservation_id ~= '' and { reservation_id } or ids_of_order(order)) do
  meant[id] = true
end

-- Whether a shipment is of what was picked: of the reservation named, or of its order if several reservations gave it.
local function is_meant(shipment_id)
  local of = call('HMGET', PREFIX .. 'shp:' .. shipment_id, 'rsv', 'ord')
  return meant[of[1]] or (of[1] == '' and of[2] and of[2] == order)
end

-- Books shipments that told of the units before they were picked, by id. Returns how many units are left.
local function book_shipped(sku, row, left)
  local flat, ids = call('HGETALL', PREFIX .. 'unb:' .. sku), {}
  for i = 1, #flat, 2 do
    local at, id = string.match(flat[i], '^(%S+) (.+)$')
    if at == node and is_meant(id) then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids)
  for _, id in ipairs(ids) do
    if left > 0 and room > 0 then
      left, room = left - book(row, sku, node, id, left), room - 1
    end
  end
  return left
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

local claims = from.is_issuer and claims_of(reservation_id, order_reference)
local without, unmatched = nil, 0
for _, m in ipairs(met) do
  if m.verdict == 'new' then
    apply_line(from, m)
  end
  if claims and m.verdict ~= 'known' then
    m.row = m.row or load_row(m.sku, node)
    local left = mark(claims, m.sku, m.row, book_shipped(m.sku, m.row, m.line[2]))
    -- What a later snapshot contains and matches nothing has been shipped and booked meanwhile: only what lowered the stock is told.
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
