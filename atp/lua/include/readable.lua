-- readable: what every read for a caller checks first. A closed pool is read as it is, but not one that is only half there.
local function unreadable()
  if not head[1] then
    return 'UNKNOWN_POOL'
  elseif head[4] == 'restoring' then
    return 'POOL_NOT_OPEN'
  end
end
