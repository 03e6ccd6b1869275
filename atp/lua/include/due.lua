-- due: units of holds that have expired and are not reaped yet, for reads, which leave them out of the sum.

-- { sku, node, units, units of them picked } of due holds on these SKUs, or nil if there are too many to read in one script.
local function due_units(skus)
  local due = call('ZRANGEBYSCORE', PREFIX .. 'exp', '-inf', now, 'LIMIT', 0, limits.REAP_ROWS_MAX + 1)
  local wanted, units, rows = {}, {}, 0
  if #due == 0 then
    return units
  end
  for _, sku in ipairs(skus) do
    wanted[sku] = true
  end
  for _, id in ipairs(due) do
    local flat = call('HGETALL', PREFIX .. 'rsv:' .. id)
    for i = 1, #flat, 2 do
      if tonumber(flat[i]) then
        local line = unpack_value(flat[i + 1])
        rows = rows + 1
        if wanted[line[1]] then
          units[#units + 1] = { line[1], line[2], line[3] - line[4] - line[5], line[6] or 0 }
        end
      end
    end
    if rows > limits.REAP_ROWS_MAX then
      return nil
    end
  end
  return units
end
