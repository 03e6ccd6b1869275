#!lua
--[[ fulfil: an order's account of a shipment; settles the allocation once and keeps the units as shipped unbooked until
  the node's authority has booked them.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, win:<sku>, unb:<sku>, rsv:<id>, shp:<id>, exp, opn, ord:<ref>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Fulfil
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_RESERVATION, KEY_REUSED, UNKNOWN_LINE, HELD, FULFILLED,
           RELEASED, EXPIRED, EXCEEDS_HELD, SHIPMENT_SPANS_NODES, OK ]]
--@include pool ledger rows writable reservation shipping window unbooked

local context, id, shipment_id, shipped_ms, parts = unpack(unpack_value(ARGV[3]))
local key = 'shp:' .. shipment_id
local r = load_reservation(id)
if not r then
  return refuse('UNKNOWN_RESERVATION', { id })
end
-- Neither before the order nor in the future: a wrong clock must not make a snapshot seem to contain it.
local created = unpack_value(r.head)[2]
shipped_ms = shipped_ms == 0 and now or math.min(math.max(shipped_ms, created), now)
local known = call('HMGET', PREFIX .. key, 'node', 'rsv', 'settled', 'first', 'booked', 'told', 'ord')

-- The answer to a shipment that was settled before: the first result if this asks for the same lines.
local function settled_before()
  local first, asked = unpack_value(known[4]), {}
  local moves = unflatten(r, first[4])
  for _, part in ipairs(parts) do
    local line = r.lines[part[1]]
    local units = part[2]
    for _, move in ipairs(moves) do
      if units == 0 and move[1] == part[1] then
        units = move[4]
      end
    end
    asked[#asked + 1] = { part[1], line and line[SKU] or '', '', units }
  end
  if #parts > 0 and not same_units(add_up(asked), unpack_value(known[3])) then
    return refuse('KEY_REUSED', { 'lines' })
  end
  return pack({ 'OK', {}, first[1], first[2], true, first[3], 0, moves })
end

if known[1] and known[2] ~= '' and known[2] ~= id or known[3] and not known[4] then
  return refuse('KEY_REUSED', { 'reservation_id' }) -- another's, or several reservations gave it
elseif known[3] then
  return settled_before()
end
local moves, unknown, exceeding = choose(r, parts)
if #unknown > 0 then
  return refuse('UNKNOWN_LINE', unknown)
elseif r.state ~= 'CONFIRMED' then
  return refuse(r.state)
elseif #exceeding > 0 then
  return refuse('EXCEEDS_HELD', exceeding)
end
local seen, nodes = {}, {}
for _, move in ipairs(moves) do
  if not seen[move[3]] then
    seen[move[3]] = true
    nodes[#nodes + 1] = move[3]
  end
end
local booked, settled, reported = known[5], add_up(moves), known[5] or known[6]
if #nodes > 1 then
  return refuse('SHIPMENT_SPANS_NODES', nodes)
elseif known[1] and known[1] ~= nodes[1] then
  return refuse('KEY_REUSED', { 'node' })
elseif reported and not same_units(settled, unpack_value(reported)) then
  return refuse('KEY_REUSED', { 'lines' })
end

if not known[1] then
  begin(key)
end
local node, unbooked = nodes[1], 0
local issuer = unpack_value(call('HGET', PREFIX .. 'cfg', 'node:' .. node))[3]
for _, move in ipairs(moves) do
  local number, sku, _, units = unpack(move)
  local row = load_row(sku, node)
  local line = r.lines[number]
  local others = ship_units(r, line, row, units)
  if not booked and await_booking(row, sku, node, issuer, shipment_id, others, shipped_ms) then
    unbooked = unbooked + 1
  end
  put_row(sku, node, row, shipment_id)
  put_line(r, number)
end
finish_if_done(r)
local first, flat = revision + 1, flatten(moves)
write('HSET', key, 'node', node, 'rsv', id, 'at', shipped_ms, 'settled', pack(settled), 'first', pack({ first, now, r.state, flat }), 'open', unbooked)
for i, name in ipairs({ 'booked', 'told', 'ord' }) do
  if known[i + 4] then
    write('HSET', key, name, known[i + 4]) -- in the image too: the key may be made anew where the ledger is replayed
  end
end
if unbooked == 0 then
  write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
end
append('fulfil', shipment_id, context)
return pack({ 'OK', {}, first, now, false, r.state, 0, moves })
