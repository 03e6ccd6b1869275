-- claims: the reservations that an event names, itself or by their order. Needs reservation.

local function is_open(r)
  return r.state == 'HELD' or r.state == 'CONFIRMED'
end

-- Ids of all reservations of an order, the ended ones too.
local function ids_of_order(order)
  return order ~= '' and call('HKEYS', PREFIX .. 'ord:' .. order) or {}
end

local function load_all(ids)
  local found = {}
  for _, id in ipairs(ids) do
    local r = load_reservation(id)
    if r then
      r.created = unpack_value(r.head)[4]
      found[#found + 1] = r
    end
  end
  return found
end

-- All of an order, or the one named, the ended ones too: that one first, then the confirmed, then the oldest.
local function claims_of(reservation_id, order)
  local found = load_all(order == '' and { reservation_id } or ids_of_order(order))
  table.sort(found, function(a, b)
    if (a.id == reservation_id) ~= (b.id == reservation_id) then
      return a.id == reservation_id
    elseif (a.state == 'CONFIRMED') ~= (b.state == 'CONFIRMED') then
      return a.state == 'CONFIRMED'
    end
    return a.created < b.created
  end)
  return found
end

-- Calls `take(r, line, number)` for each line of a SKU at a node, in the order in which units are taken from them.
local function each_line_at(claims, sku, node, take)
  for _, r in ipairs(claims) do
    for number, line in ipairs(r.lines) do
      if line[SKU] == sku and line[NODE] == node then
        take(r, line, number)
      end
    end
  end
end

-- Units of a line have left that were not picked for it. They take over what is picked for others of its order: who reports picks and who
-- reports shipments may name it differently, and units must not count as picked for one while they have left for another.
-- Returns how many are left that nobody is known to have picked.
local function take_over(claims, r, line, row, left)
  each_line_at(claims, line[SKU], line[NODE], function(other, theirs, number)
    local units = other.id ~= r.id and is_open(other) and math.min(left, picked_units(theirs)) or 0
    if units > 0 then
      theirs[PICKS] = theirs[PICKS] - units
      put_line(other, number)
      line[PICKS] = (line[PICKS] or 0) + units
      shift(row, line[SKU], line[NODE], ROW_PICKED, -units)
      left = left - units
    end
  end)
  return left
end
