-- bytes: names in the order of their bytes, as everywhere outside Lua. Its own `<` goes by the locale of whoever started the server.
local function is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local left, right = string.byte(a, i), string.byte(b, i)
    if left ~= right then
      return left < right
    end
  end
  return #a < #b
end
