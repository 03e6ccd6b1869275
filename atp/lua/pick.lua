#!lua
--[[ pick: units taken from their place for a reservation or an order. Where on hand falls at pick it falls now, and each unit is
  matched with what it was picked for: what was shipped before its pick was heard of, or an open line; what matches nothing raises an exception.
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
if reservation_id ~= '' then
  order = call('HGET', PREFIX .. 'rsv:' .. reservation_id, 'ord') or ''
end
local claims, meant = from.is_issuer and claims_of(reservation_id, order) or {}, {}
for _, r in ipairs(claims) do
  meant[r.id] = true
end

-- Whether a shipment is of what was picked: of these reservations, or of several of this order.
local function is_meant(shipment_id)
  local of = call('HMGET', PREFIX .. 'shp:' .. shipment_id, 'rsv', 'ord')
  return meant[of[1]] or (of[1] == '' and of[2] and of[2] == order)
end

-- The shipments of a SKU from here that told of its units before they were picked, by id, and how many units of them stand unbooked.
local function unbooked_of(sku)
  local flat, ids, total = call('HGETALL', PREFIX .. 'unb:' .. sku), {}, 0
  for i = 1, #flat, 2 do
    local at, id = string.match(flat[i], '^(%S+) (.+)$')
    if at == node and is_meant(id) then
      ids[#ids + 1] = id
      total = total + unpack_value(flat[i + 1])[1]
    end
  end
  table.sort(ids, is_before)
  return ids, total
end

-- Attributes up to so many units to a line. Returns how many are left, and how many it took.
local function attribute(r, line, number, left, most)
  local units = room > 0 and math.min(left, most) or 0
  if units > 0 then
    line[PICKS] = (line[PICKS] or 0) + units
    put_line(r, number)
    if not is_open(r) then -- an ended record vanishes when it would have, also where the ledger is replayed later
      write('PEXPIREAT', 'rsv:' .. r.id, call('PEXPIRETIME', PREFIX .. 'rsv:' .. r.id))
    end
    room = room - 1
  end
  return left - units, units
end

-- Units whose pick was not heard of when they were shipped. Of them some stand in shipped unbooked, some were booked by a snapshot, which
-- contains the pick. As much as can be is taken as that: nothing is promised too early. Returns how many units are left.
local function absorb(sku, row, left)
  local awaited, absorbed = 0, 0
  each_line_at(claims, sku, node, function(r, line, number)
    local units = math.max(0, line[SHIPPED] - (line[PICKS] or 0))
    awaited = awaited + units
    left, units = attribute(r, line, number, left, units)
    absorbed = absorbed + units
  end)
  if absorbed == 0 then
    return left
  end
  local ids, unbooked = unbooked_of(sku)
  local to_book = absorbed - math.max(0, awaited - unbooked)
  for _, id in ipairs(ids) do
    if to_book > 0 and room > 0 then
      to_book, room = to_book - book(row, sku, node, id, to_book), room - 1
    end
  end
  return left + math.max(0, to_book) -- those for which there was no room
end

-- Marks open lines as picked. Returns how many units are left.
local function mark(sku, row, left)
  each_line_at(claims, sku, node, function(r, line, number)
    if is_open(r) then
      local units
      left, units = attribute(r, line, number, left, open_units(line) - picked_units(line))
      shift(row, sku, node, ROW_PICKED, units)
    end
  end)
  return left
end

local without, unmatched = nil, 0
for _, m in ipairs(met) do
  if m.verdict == 'new' then
    apply_line(from, m)
  end
  if from.is_issuer and m.verdict ~= 'known' then
    m.row = m.row or load_row(m.sku, node)
    local left = mark(m.sku, m.row, absorb(m.sku, m.row, m.line[2]))
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
