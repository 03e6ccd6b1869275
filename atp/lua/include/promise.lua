-- promise: what is not promised of a row: the safety stock, all of a blocked item, and all that lies at a node that is shut.
local BLOCKED, DISCONTINUED = 1, 2

-- Units of an item, as stored, that no node promises. Of a discontinued one all that is left is sold.
local function kept_back(cell)
  local item = unpack_value(cell)
  if item[5] == BLOCKED then
    return math.huge
  end
  return item[5] == DISCONTINUED and 0 or item[1]
end

-- The nodes from which nothing is promised, as a set, from the field `shut` of cfg.
local function shut_nodes(cell)
  local shut = {}
  for _, node in ipairs(cell and unpack_value(cell) or {}) do
    shut[node] = true
  end
  return shut
end
