-- claims: the reservations that an event names, itself or by their order. Needs reservation.

local function is_open(r)
  return r ~= nil and (r.state == 'HELD' or r.state == 'CONFIRMED')
end

-- Ids of all reservations of an order, the ended ones too.
local function ids_of_order(order)
  return order ~= '' and call('HKEYS', PREFIX .. 'ord:' .. order) or {}
end

-- Those that are still known, the oldest first.
local function load_known(ids)
  local found = {}
  for _, id in ipairs(ids) do
    local r = load_reservation(id)
    if r then
      r.created = unpack_value(r.head)[4]
      found[#found + 1] = r
    end
  end
  table.sort(found, function(a, b)
    return a.created < b.created
  end)
  return found
end

local function open_of(known)
  local found = {}
  for _, r in ipairs(known) do
    if is_open(r) then
      found[#found + 1] = r
    end
  end
  return found
end

-- The open ones of those that an event names: the confirmed before the held, then the oldest first.
local function claims_of(known)
  local found = open_of(known)
  table.sort(found, function(a, b)
    if a.state ~= b.state then
      return a.state == 'CONFIRMED'
    end
    return a.created < b.created
  end)
  return found
end

-- Calls `take(r, line, number)` for each open line of a SKU at a node, in the order in which units are taken from them.
local function each_line_at(claims, sku, node, take)
  for _, r in ipairs(claims) do
    for number, line in ipairs(r.lines) do
      if line[SKU] == sku and line[NODE] == node and open_units(line) > 0 then
        take(r, line, number)
      end
    end
  end
end
