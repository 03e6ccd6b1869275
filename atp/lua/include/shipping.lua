-- shipping: open units of a reservation leave their node. Needs reservation.

-- First those picked for the line leave, then those picked for others of its order. Returns how many are left that nobody is known to have
-- picked: they are still counted on hand. `r.family` are all reservations of its order, once they are loaded.
local function ship_units(r, line, row, units)
  local left = units - lower_open(r, line, row, units, SHIPPED)
  if left > 0 and r.ord and (row[ROW_PICKED] or 0) > 0 then
    --@include claims
    r.family = r.family or claims_of(r.id, r.ord)
    left = take_over(r.family, r, line, row, left)
  end
  return left
end
