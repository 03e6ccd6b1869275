#!lua
--[[ cancel: an order, or some units of it, is not wanted any more: its open reservations give them up, the newest first.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, rsv:<id>, exp, opn, ord:<ref>, evt:<source> <event>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Cancel
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, SEQUENCE_CONFLICT, DUPLICATE, UNKNOWN_ORDER, OK ]]
--@include pool ledger rows writable reservation claims seen

local context, event_id, source, _, fingerprint, order, wanted = unpack(unpack_value(ARGV[3]))
if call('HEXISTS', PREFIX .. 'cfg', 'source:' .. source) == 0 then
  return refuse('UNKNOWN_SOURCE', { source })
end
local seen = refuse_seen(source, event_id, fingerprint)
if seen then
  return seen
end
local ids = ids_of_order(order)
if #ids == 0 then
  return refuse('UNKNOWN_ORDER', { order })
end

local left, written = {}, 0
for _, want in ipairs(wanted) do
  left[want[1]] = want[2]
end

-- What a reservation gives up, its lines by falling number, and what that can write to the ledger at most.
local function given_up(r)
  local moves, bytes = {}, 0
  for number = #r.lines, 1, -1 do
    local line = r.lines[number]
    local sku, units = line[SKU], open_units(line)
    if #wanted > 0 then
      units = math.min(units, left[sku] or 0)
      left[sku] = (left[sku] or 0) - units
    end
    if units > 0 then
      moves[#moves + 1] = { number, line, units }
      bytes = bytes + 3 * (#sku + #line[NODE]) + limits.LEDGER_ROW_BYTES
    end
  end
  return moves, bytes
end

local claims = open_of(load_known(ids))
table.sort(claims, function(a, b)
  return a.created > b.created
end)
for _, r in ipairs(claims) do
  local moves, bytes = given_up(r)
  if #moves > 0 then
    if written > 0 and written + bytes > limits.LEDGER_ENTRY_BYTES_MAX then
      append('order_cancelled', order, context)
      written = 0
    end
    written = written + bytes
    for _, move in ipairs(moves) do
      local number, line, units = unpack(move)
      local row = load_row(line[SKU], line[NODE])
      lower_open(r, line, row, units)
      put_row(line[SKU], line[NODE], row, order)
      line[RELEASED] = line[RELEASED] + units
      put_line(r, number)
    end
    finish_if_done(r)
  end
end
keep_seen(source, event_id, fingerprint)
append('order_cancelled', order, context)
return refuse('OK')
