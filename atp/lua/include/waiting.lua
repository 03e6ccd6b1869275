-- waiting: whether an item has the name that an event waits for. A SKU is no alias, nor the other way round.
local function is_known(name, is_alias)
  return (is_alias and call('EXISTS', PREFIX .. 'ali:' .. name) or call('HEXISTS', PREFIX .. 'stk:' .. name, '@')) == 1
end
