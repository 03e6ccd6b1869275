#!lua
--[[ pick: units taken from their place for a reservation or an order, or (pick_reversed) put back there. Where on hand falls at pick it
  moves now, and each unit is matched with what it was picked for: what was shipped before its pick was heard of, or an open line; what
  matches nothing raises an exception. Where it falls at issue this is the order's story alone.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, stk:<sku>, win:<sku>, cmp:<sku>, unb:<sku>, shp:<id>, rsv:<id>, ord:<ref>,
           evt:<source> <event>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Pick
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK
  Invariant: what is picked of a line is open ]]
--@include pool ledger rows writable reservation claims window event unbooked

local context, event_id, source, node, sequence, fingerprint, reservation_id, order_reference, lines, moment, kind =
  unpack(unpack_value(ARGV[3]))
local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines, true)
if not from then
  return refusal
end
local is_reversal = kind == 'pick_reversed'
from.takes_late = is_reversal and from.is_issuer -- its units are picked no longer, wherever it stood
local cause = reservation_id ~= '' and reservation_id or order_reference ~= '' and order_reference or event_id
if from.falls ~= 'pick' then
  append_event(from, kind, cause, context)
  return refuse('OK')
end
local met, conflict = meet_windows(from, lines, function(line)
  return is_reversal and line[2] or -line[2], 0, 0
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

-- The shipments { id, shipped_ms } of a SKU from here that told of its units before they were picked, and how many units of them stand
-- unbooked. The oldest first: those that stay are booked by no snapshot that does not contain all of them.
local function unbooked_of(sku)
  local flat, found, total = call('HGETALL', PREFIX .. 'unb:' .. sku), {}, 0
  for i = 1, #flat, 2 do
    local at, id = string.match(flat[i], '^(%S+) (.+)$')
    if at == node and is_meant(id) then
      local units, shipped_ms = unpack(unpack_value(flat[i + 1]))
      found[#found + 1] = { id, shipped_ms }
      total = total + units
    end
  end
  table.sort(found, function(a, b)
    if a[2] ~= b[2] then
      return a[2] < b[2]
    end
    return is_before(a[1], b[1])
  end)
  return found, total
end

-- Adds units to what a line counts under `field`, and stores it.
local function note(r, line, number, field, units)
  line[field] = (line[field] or 0) + units
  put_line(r, number)
  if not is_open(r) then -- an ended record vanishes when it would have, also where the ledger is replayed later
    write('PEXPIREAT', 'rsv:' .. r.id, call('PEXPIRETIME', PREFIX .. 'rsv:' .. r.id))
  end
end

-- How many of `left` units are one line's; each line that has any takes room.
local function share(left, most)
  local units = room > 0 and math.min(left, most) or 0
  room = room - (units > 0 and 1 or 0)
  return units
end

-- Units whose pick was not heard of when they were shipped, or put back. Of them some stand in shipped unbooked, some were booked by a
-- snapshot, which contains the pick. As much as can be is taken as that: nothing is promised too early. Returns how many units are left.
local function absorb(sku, row, left)
  local awaited, absorbed = 0, 0
  each_line_at(claims, sku, node, function(r, line, number)
    local back = math.max(0, -(line[LOOSE] or 0))
    local shipped = math.max(0, line[SHIPPED] - (line[PICKS] or 0))
    awaited = awaited + back + shipped
    local units = share(left, back + shipped)
    if units > 0 then
      line[LOOSE] = (line[LOOSE] or 0) + math.min(units, back)
      note(r, line, number, PICKS, units - math.min(units, back))
      left, absorbed = left - units, absorbed + units
    end
  end)
  if absorbed == 0 then
    return left
  end
  local shipments, unbooked = unbooked_of(sku)
  local to_book = absorbed - math.max(0, awaited - unbooked)
  for _, shipment in ipairs(shipments) do
    if to_book > 0 and room > 0 then
      to_book, room = to_book - book(row, sku, node, shipment[1], to_book), room - 1
    end
  end
  return left + math.max(0, to_book) -- those for which there was no room
end

-- Marks open lines as picked. Returns how many units are left.
local function mark(sku, row, left)
  each_line_at(claims, sku, node, function(r, line, number)
    local units = is_open(r) and share(left, open_units(line) - picked_units(line)) or 0
    if units > 0 then
      note(r, line, number, PICKS, units)
      shift(row, sku, node, ROW_PICKED, units)
      left = left - units
    end
  end)
  return left
end

-- The lines { r, line, number } of a SKU here, in the order in which units are taken from them.
local function lines_of(sku)
  local found = {}
  each_line_at(claims, sku, node, function(r, line, number)
    found[#found + 1] = { r, line, number }
  end)
  return found
end

-- What was picked beyond all that is open lies loose, and is known once it is put back.
local function lay_aside(sku, left)
  local first = lines_of(sku)[1]
  if left > 0 and first and room > 0 then
    room = room - 1
    note(first[1], first[2], first[3], LOOSE, left)
  end
end

-- Units that stand in shipped unbooked as those of a shipment do whose pick was not heard of.
local returned, returned_skus = string.format('%s %d', kind, revision + 1), 0
local function await_pick(sku, row, units)
  if units > 0 then
    shift(row, sku, node, SHIPPED_UNBOOKED, units)
    write('HSET', 'unb:' .. sku, node .. ' ' .. returned, pack({ units, now }))
    returned_skus = returned_skus + 1
  end
end

-- Units are in their place again: first those that lie loose, for which nothing stands; then picked ones that are open; then such as have
-- left, of which another pick is awaited. What is left was put back before its pick was heard of. What is awaited and counted on hand
-- stands in shipped unbooked. Returns how many units no line is known for.
local function put_back(sku, row, left, is_new)
  local lines, awaited = lines_of(sku), 0
  for _, l in ipairs(lines) do
    local units = share(left, math.max(0, l[2][LOOSE] or 0))
    if units > 0 then
      note(l[1], l[2], l[3], LOOSE, -units)
      left = left - units
    end
  end
  for i = #lines, 1, -1 do
    local r, line, number = unpack(lines[i])
    local units = is_open(r) and share(left, picked_units(line)) or 0
    if units > 0 then
      note(r, line, number, PICKS, -units)
      shift(row, sku, node, ROW_PICKED, -units)
      left = left - units
    end
  end
  for i = #lines, 1, -1 do
    local r, line, number = unpack(lines[i])
    local units = share(left, line[PICKS] or 0)
    if units > 0 then
      note(r, line, number, PICKS, -units)
      left, awaited = left - units, awaited + units
    end
  end
  if not lines[1] then
    return left
  end
  if left > 0 and room > 0 then
    room = room - 1
    note(lines[1][1], lines[1][2], lines[1][3], LOOSE, -left)
    left = is_new and left or 0
  end -- without room it is not known what they are: nothing is promised too early
  await_pick(sku, row, awaited + left)
  return 0
end

local without, unmatched, too_late, late = nil, 0, nil, 0
for _, m in ipairs(met) do
  local is_new = m.verdict == 'new'
  if is_new then
    apply_line(from, m)
  end
  if from.is_issuer and m.verdict ~= 'known' then
    m.row = m.row or load_row(m.sku, node)
    local left = m.line[2]
    if is_reversal then
      left = put_back(m.sku, m.row, left, is_new)
    else
      left = mark(m.sku, m.row, absorb(m.sku, m.row, left))
      lay_aside(m.sku, left)
    end
    -- What a later snapshot contains and matches nothing was put back, or is nobody's: only what changed the stock is told.
    if left > 0 and is_new then
      without, unmatched = without or m.sku, unmatched + left
    end
    if m.verdict == 'below' then
      too_late, late = too_late or m.sku, late + m.line[2]
    end
  end
end
if unmatched > 0 then
  local reason = is_reversal and 'REVERSAL_WITHOUT_PICK' or 'PICK_WITHOUT_ALLOCATION'
  raise('pick:' .. source .. '/' .. event_id, reason, 'open', without, node, cause, unmatched)
end
if late > 0 then
  raise('late:' .. source .. '/' .. event_id, 'REVERSAL_BELOW_WINDOW', 'open', too_late, node, cause, late)
end
if returned_skus > 0 then
  write('HSET', 'shp:' .. returned, 'node', node, 'rsv', reservation_id, 'at', now, 'open', returned_skus)
  if order ~= '' then
    write('HSET', 'shp:' .. returned, 'ord', order)
  end
end
for _, m in ipairs(met) do
  if m.row and m.row.shifted then
    put_row(m.sku, node, m.row, cause)
  end
end
append_event(from, kind, cause, context)
return refuse('OK')
