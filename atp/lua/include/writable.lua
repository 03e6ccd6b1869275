-- writable: refuses an unknown or closed pool, then gives back every hold that is due, each as an entry of its own,
-- so that no write decides while one is unreaped. Needs pool, ledger, rows.
if not head[1] then
  return pack({ 'UNKNOWN_POOL', {}, 0, 0 })
elseif head[4] ~= ARGV[1] then
  return pack({ 'POOL_NOT_OPEN', {}, revision, 0 })
end

local due = call('ZRANGEBYSCORE', PREFIX .. 'exp', '-inf', now, 'LIMIT', 0, limits.REAP_ROWS_MAX + 1)
if due[1] then
  -- Most calls find nothing due: what they do not need is made only here.
  --@include reservation
  local given_back = 0
  for i, id in ipairs(due) do
    local r = load_reservation(id)
    local rows = 0
    for _, line in ipairs(r.lines) do
      rows = rows + (open_units(line) > 0 and 1 or 0)
    end
    if i > 1 and given_back + rows > limits.REAP_ROWS_MAX then
      return refuse('REAP_MORE')
    end
    for number, line in ipairs(r.lines) do
      local units = open_units(line)
      if units > 0 then
        local row, picked = load_row(line[SKU], line[NODE]), line[PICKED]
        lower_open(r, line, row, units)
        put_row(line[SKU], line[NODE], row, id)
        if picked then
          put_line(r, number)
        end
      end
    end
    finish(r, 'EXPIRED')
    append('expire', id, { '', '' })
    given_back = given_back + rows
  end
end
