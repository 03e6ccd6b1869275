-- unbooked: units shipped by an order's account that the node's authority has not booked yet (DESIGN rule 7).
--@include bytes

-- Takes one shipment's units of a SKU out of shipped unbooked, if they stand there; `most` of them, if it is given. Returns how many.
local function book(row, sku, node, shipment_id, most)
  local field = node .. ' ' .. shipment_id
  local kept = call('HGET', PREFIX .. 'unb:' .. sku, field)
  if not kept then
    return 0
  end
  local units, shipped_ms = unpack(unpack_value(kept))
  if most and most < units then
    shift(row, sku, node, SHIPPED_UNBOOKED, -most)
    write('HSET', 'unb:' .. sku, field, pack({ units - most, shipped_ms }))
    return most
  end
  shift(row, sku, node, SHIPPED_UNBOOKED, -units)
  write('HDEL', 'unb:' .. sku, field)
  local key = 'shp:' .. shipment_id
  local left = tonumber(call('HGET', PREFIX .. key, 'open')) - 1
  write('HSET', key, 'open', left)
  if left == 0 then
    write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
  end
  return units
end

-- The units are gone, and stand in shipped unbooked until the issuer's figures say so, unless its last snapshot does. Returns whether they do.
local function await_booking(row, sku, node, issuer, shipment_id, units, shipped_ms)
  if units == 0 or load_window(sku, node, issuer)[AS_OF] >= shipped_ms then
    return false
  end
  shift(row, sku, node, SHIPPED_UNBOOKED, units)
  write('HSET', 'unb:' .. sku, node .. ' ' .. shipment_id, pack({ units, shipped_ms }))
  return true
end

local function add_up(moves)
  local sums, skus = {}, {}
  for _, move in ipairs(moves) do
    if not sums[move[2]] then
      skus[#skus + 1] = move[2]
    end
    sums[move[2]] = (sums[move[2]] or 0) + move[4]
  end
  table.sort(skus, is_before)
  local flat = {}
  for _, sku in ipairs(skus) do
    flat[#flat + 1] = sku
    flat[#flat + 1] = sums[sku]
  end
  return flat
end

-- Whether two flat lists { sku, quantity, … } by rising SKU say the same.
local function same_units(a, b)
  if #a ~= #b then
    return false
  end
  for i = 1, #a do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end
