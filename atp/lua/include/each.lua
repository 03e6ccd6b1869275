-- each: several requests in one call, where that is worth it.
-- Applies one request, or several one after the other as if each had come by itself: their results, in order. What refuses all is one result.
local function each(apply)
  if #ARGV == 3 then
    return apply(ARGV[3])
  end
  local results = {}
  for i = 3, #ARGV do
    results[i - 2] = apply(ARGV[i])
  end
  return results
end
