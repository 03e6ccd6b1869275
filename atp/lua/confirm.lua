#!lua
--[[ confirm: turns a hold into an allocation; takes the stock again for an expired one if that was asked for.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, rsv:<id>, exp, opn, ord:<ref>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Confirm
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_RESERVATION, KEY_REUSED, CONFIRMED, FULFILLED, RELEASED,
           EXPIRED, INSUFFICIENT_STOCK, OK ]]
--@include pool ledger rows writable reservation promise

local context, id, key, fingerprint, reacquire = unpack(unpack_value(ARGV[3]))
local r = load_reservation(id)
if not r then
  return refuse('UNKNOWN_RESERVATION', { id })
end
local known = known_operation(r, key, 'confirm', fingerprint, 'reacquire')
if known then
  return known
end
local was_held = r.state == 'HELD'
if not was_held and not (r.state == 'EXPIRED' and reacquire) then
  return refuse(r.state)
end

local moves, rows, short = choose(r, {}), {}, {}
local shut = was_held or shut_nodes(call('HGET', PREFIX .. 'cfg', 'shut'))
for i, move in ipairs(moves) do
  rows[i] = load_row(move[2], move[3])
  if not was_held then
    local safety = kept_back(call('HGET', PREFIX .. 'stk:' .. move[2], '@'))
    local free = shut[move[3]] and 0 or math.max(0, rows[i].before - safety)
    if move[4] > free then
      short[#short + 1] = { move[2], move[4], free }
    end
  end
end
if #short > 0 then
  return pack({ 'INSUFFICIENT_STOCK', {}, revision, now, false, '', 0, {}, short })
end

for i, move in ipairs(moves) do
  if was_held then
    shift(rows[i], move[2], move[3], RESERVED, -move[4])
  end
  shift(rows[i], move[2], move[3], ALLOCATED, move[4])
  put_row(move[2], move[3], rows[i], id)
end
if was_held then
  write('ZREM', 'exp', id)
else
  -- The whole record again: where the ledger is replayed into an older copy of the store, it may have vanished meanwhile.
  write('PERSIST', 'rsv:' .. id)
  begin('rsv:' .. id)
  write('HSET', 'rsv:' .. id, unpack(r.flat))
  write('ZADD', 'opn', unpack_value(r.head)[2], id)
  if r.ord then
    write('HSET', 'ord:' .. r.ord, id, 0)
    write('PERSIST', 'ord:' .. r.ord)
  end
end
set_state(r, 'CONFIRMED')
r.expire = 0
write('HSET', 'rsv:' .. id, 'exp', 0)
local answer = keep(r, key, 'confirm', fingerprint, moves)
append('confirm', id, context)
return answer
