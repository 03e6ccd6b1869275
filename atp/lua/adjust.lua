#!lua
--[[ adjust: a receipt, an adjustment, a return or the like: signed changes to physical figures. Those that the source is the authority
  of change the row, the others what is kept for comparison. Units short at a pick raise an exception.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, stk:<sku>, win:<sku>, cmp:<sku>, evt:<source> <event>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3…] atp.model.verbs.Adjust, one or more
  Returns  Result, or as many as came: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK ]]
--@include pool ledger rows writable each window event

local function apply(request)
  local context, event_id, kind, source, node, sequence, fingerprint, lines, moment, about = unpack(unpack_value(request))
  local is_short = kind == 'pick_short' -- kept by its id: an order is short all the same if a later snapshot contains it, and is told so once
  local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines, is_short)
  if not from then
    return refusal
  end
  local met, conflict, new, known = meet_windows(from, lines, function(line)
    return line[2], line[3], line[4]
  end)
  if not met then
    return conflict
  elseif new == 0 and not is_short then
    return refuse('DUPLICATE')
  end
  if entry_room(from, met, event_id) < 0 then
    return refuse('TOO_MANY_ROWS')
  end
  local beyond = weigh_deltas(from, met)
  if beyond then
    return beyond
  end

  if is_short and from.is_issuer and known == 0 then
    local short = 0
    for _, line in ipairs(lines) do
      short = short - line[2]
    end
    raise('short:' .. source .. '/' .. event_id, 'PICK_SHORT', 'open', lines[1][1], node, about ~= '' and about or event_id, short)
  end
  for _, m in ipairs(met) do
    if m.verdict == 'new' then
      apply_line(from, m)
      if m.row then
        put_row(m.sku, node, m.row, event_id)
      end
    end
  end
  append_event(from, kind, event_id, context)
  return refuse('OK')
end

return each(apply)
