#!lua
--[[ ship: a shipment as a source reports it. If it is the issuer of the node it happened: the allocation is settled once, and what
  finds none raises an exception. Where on hand falls at issue it falls now; where it falls at pick, what was not picked yet waits for its
  pick. What others say is kept for comparison.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, stk:<sku>, win:<sku>, cmp:<sku>, unb:<sku>, rsv:<id>, shp:<id>, exp, opn,
           ord:<ref>, evt:<source> <event>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3…] atp.model.verbs.Ship, one or more
  Returns  Result, or as many as came: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, SHIPMENT_CONFLICT, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK ]]
--@include pool ledger rows writable each reservation shipping window event unbooked

local function apply(request)
  local context, event_id, source, node, sequence, fingerprint, shipment_id, reservation_id, lines, moment, order_reference, kind =
    unpack(unpack_value(request))
  local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines)
  if not from then
    return refusal
  end
  local at_pick, met, new = from.falls == 'pick', {}, 0
  if not at_pick then
    local conflict, already
    met, conflict, new, already = meet_windows(from, lines, function(line)
      return -line[2], 0, 0
    end)
    if not met then
      return conflict
    elseif already == #lines then
      return refuse('DUPLICATE')
    end
  end
  if new == 0 and not from.is_issuer then
    return refuse('DUPLICATE')
  end

  local key, moves = 'shp:' .. shipment_id, {}
  for i, line in ipairs(lines) do
    moves[i] = { 0, line[1], node, line[2] }
  end
  local reported = add_up(moves)
  local known = from.is_issuer and call('HMGET', PREFIX .. key, 'node', 'rsv', 'settled', 'booked', 'told', 'open') or {}
  local before = known[4] or known[5]
  if known[1] and known[1] ~= node then
    return refuse('SHIPMENT_CONFLICT', { 'node' })
  elseif known[1] and known[2] ~= '' and reservation_id ~= '' and known[2] ~= reservation_id then
    return refuse('SHIPMENT_CONFLICT', { 'reservation_id' })
  elseif before and same_units(reported, unpack_value(before)) then
    return refuse('DUPLICATE')
  elseif before then
    return refuse('SHIPMENT_CONFLICT', { 'lines' })
  end
  if entry_room(from, met, shipment_id) < 0 then
    return refuse('TOO_MANY_ROWS')
  end
  local beyond = weigh_deltas(from, met)
  if beyond then
    return beyond
  end

  local rows, order = {}, {}
  for i, line in ipairs(lines) do
    local sku, m = line[1], met[i]
    rows[sku], order[i] = m and m.row or load_row(sku, node), sku
    if m and m.verdict == 'new' then
      apply_line(from, m)
    end
  end
  if not from.is_issuer then
    append_event(from, kind, shipment_id, context)
    return refuse('OK')
  end

  local function tell(reason, sku, quantity)
    raise('ship:' .. shipment_id, reason, 'open', sku, node, shipment_id, quantity)
  end

  -- The lowest SKU whose units differ between two flat lists { sku, quantity, … } by rising SKU.
  local function first_difference(a, b)
    local i = 1
    while a[i] == b[i] and a[i + 1] == b[i + 1] do
      i = i + 2
    end
    local left, right = a[i] or b[i], b[i] or a[i]
    return is_before(left, right) and left or right
  end

  local function tell_difference(settled)
    if same_units(settled, reported) then
      return
    end
    local difference = 0
    for i = 2, #settled, 2 do
      difference = difference - settled[i]
    end
    for i = 2, #reported, 2 do
      difference = difference + reported[i]
    end
    tell('SHIPMENT_DIFFERS', first_difference(settled, reported), math.abs(difference))
  end

  -- The order's account was here first: its units are booked now, at the issuer's own figures.
  local function book_settled(settled)
    for i = 1, #settled, 2 do
      local sku = settled[i]
      if not rows[sku] then
        rows[sku], order[#order + 1] = load_row(sku, node), sku
      end
      book(rows[sku], sku, node, shipment_id)
    end
  end

  -- Takes the units from the reservations named as far as they have them. Returns those that gave any, what was moved in all, and how much of
  -- each SKU had not been picked; what is beyond, or was not confirmed, is told.
  local function settle()
    local givers, all, unpicked, room = {}, {}, {}, limits.SETTLED_LINES_MAX
    local without, unmatched, unconfirmed, held = nil, 0, nil, 0
    local claims = { load_reservation(reservation_id) }
    if reservation_id == '' then
      --@include claims
      claims = claims_of('', order_reference)
    end
    for _, want in ipairs(lines) do
      local sku, left = want[1], want[2]
      for _, r in ipairs(claims) do
        r.family = reservation_id == '' and claims or r.family
        for number, line in ipairs((r.state == 'HELD' or r.state == 'CONFIRMED') and r.lines or {}) do
          local units = line[SKU] == sku and line[NODE] == node and room > 0 and math.min(left, open_units(line)) or 0
          if units > 0 then
            unpicked[sku] = (unpicked[sku] or 0) + ship_units(r, line, rows[sku], units)
            put_line(r, number)
            if not r.gave then
              r.gave, givers[#givers + 1] = {}, r
            end
            r.gave[#r.gave + 1] = { number, sku, node, units }
            all[#all + 1] = r.gave[#r.gave]
            left, room = left - units, room - 1
            if r.state == 'HELD' then
              unconfirmed, held = unconfirmed or sku, held + units
            end
          end
        end
      end
      if left > 0 then
        without, unmatched = without or sku, unmatched + left
      end
    end
    if unmatched > 0 then
      tell('SHIPMENT_WITHOUT_ALLOCATION', without, unmatched)
    elseif held > 0 then
      tell('SHIPMENT_UNCONFIRMED', unconfirmed, held)
    end
    return givers, all, unpicked
  end

  local open = tonumber(known[6]) or 0
  if known[3] then
    local settled = unpack_value(known[3])
    if not at_pick then
      book_settled(settled)
      open = 0
    end
    tell_difference(settled)
  else
    local givers, all, unpicked = settle()
    for sku, units in pairs(at_pick and unpicked or {}) do
      open = open + (await_booking(rows[sku], sku, node, source, shipment_id, units, now) and 1 or 0)
    end
    for _, r in ipairs(givers) do
      finish_if_done(r)
    end
    local only = #givers == 1 and givers[1]
    begin(key)
    write('HSET', key, 'node', node, 'rsv', only and only.id or reservation_id, 'at', now, 'open', open)
    if order_reference ~= '' then
      write('HSET', key, 'ord', order_reference)
    end
    if #givers > 0 then
      write('HSET', key, 'settled', pack(add_up(all)))
    end
    if only then
      write('HSET', key, 'first', pack({ revision + 1, now, only.state, flatten(only.gave) }))
    end
  end
  for _, sku in ipairs(order) do
    if rows[sku].shifted then
      put_row(sku, node, rows[sku], shipment_id)
    end
  end
  write('HSET', key, at_pick and 'told' or 'booked', pack(reported))
  if open == 0 then
    write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
  end
  append_event(from, kind, shipment_id, context)
  return refuse('OK')
end

return each(apply)
