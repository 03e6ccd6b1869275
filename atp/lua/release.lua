#!lua
--[[ release: gives back what is open, whole or named lines, of a held or confirmed reservation.
  KEYS[1]  {pool}:pool. Touches stk:<sku>, rsv:<id>, exp, opn, ord:<ref>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Release
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_RESERVATION, KEY_REUSED, OPERATIONS_FULL, UNKNOWN_LINE,
           FULFILLED, RELEASED, EXPIRED, EXCEEDS_HELD, OK ]]
--@include pool ledger rows writable reservation

local context, id, key, fingerprint, parts = unpack(unpack_value(ARGV[3]))
local r = load_reservation(id)
if not r then
  return refuse('UNKNOWN_RESERVATION', { id })
end
local known = known_operation(r, key, 'release', fingerprint, 'lines')
if known then
  return known
elseif #parts > 0 and r.operations >= limits.OPERATIONS_FOR_ANY then
  return refuse('OPERATIONS_FULL')
end
local moves, unknown, exceeding = choose(r, parts)
if #unknown > 0 then
  return refuse('UNKNOWN_LINE', unknown)
elseif r.state ~= 'HELD' and r.state ~= 'CONFIRMED' then
  return refuse(r.state)
elseif #exceeding > 0 then
  return refuse('EXCEEDS_HELD', exceeding)
end

for _, move in ipairs(moves) do
  local number, sku, node, units = unpack(move)
  local row, line = load_row(sku, node), r.lines[number]
  lower_open(r, line, row, units)
  put_row(sku, node, row, id)
  line[RELEASED] = line[RELEASED] + units
  put_line(r, number)
end
finish_if_done(r)
local answer = keep(r, key, 'release', fingerprint, moves)
append('release', id, context)
return answer
