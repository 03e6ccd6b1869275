-- rows: one SKU at one node; the figures by index, and the arithmetic of atp/model/stock.py.
local ON_HAND, DAMAGED, QUALITY_HOLD, RESERVED, ALLOCATED, SHIPPED_UNBOOKED, CHANGED, IN_TRANSIT, ROW_PICKED = 1, 2, 3, 4, 5, 6, 7, 8, 9
local TERMS = { 'on_hand', 'damaged', 'quality_hold', 'reserved', 'allocated', 'shipped_unbooked', '', 'in_transit', 'picked' }

local function uncommitted(row)
  return row[1] - row[2] - row[3] - row[4] - row[5] - row[6] + (row[9] or 0)
end

local function read_row(cell)
  local row = cell and unpack_value(cell) or { 0, 0, 0, 0, 0, 0, 0 }
  row.before = uncommitted(row)
  return row
end

local function load_row(sku, node)
  return read_row(call('HGET', PREFIX .. 'stk:' .. sku, node))
end

local function shift(row, sku, node, term, delta)
  if delta ~= 0 then
    row[term] = (row[term] or 0) + delta
    row.shifted = true
    facts[#facts + 1] = { sku, node, 0, TERMS[term], delta }
  end
end

local function out_of_range(row, term, delta)
  return math.abs((row[term] or 0) + delta) > limits.FIGURE_MAX
end

-- The row as it is stored: what few rows have stands at its end, and takes no room in the others.
local function pack_row(row)
  if (row[9] or 0) ~= 0 then
    return pack({ row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8] or 0, row[9] })
  elseif (row[8] or 0) ~= 0 then
    return pack({ row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8] })
  end
  return pack({ row[1], row[2], row[3], row[4], row[5], row[6], row[7] })
end

-- Stores the row under the coming revision; tells when commitments pass what is sellable, and when they no longer do.
local function put_row(sku, node, row, cause)
  row[CHANGED] = revision + 1
  local before, after = row.before, uncommitted(row)
  write('HSET', 'stk:' .. sku, node, pack_row(row))
  if after < 0 and after < before then
    raise('over:' .. node .. ':' .. sku, 'OVERCOMMITTED', 'open', sku, node, cause, -after)
  elseif before < 0 and after >= 0 then
    raise('over:' .. node .. ':' .. sku, 'OVERCOMMITTED', 'resolved', sku, node, cause, 0)
  end
end
