#!lua
--[[ reserve: holds stock for one reservation, all lines or none, or what can be had if partial was asked for.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, rsv:<id>, exp, opn, ord:<ref>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Reserve
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, KEY_REUSED, RESERVATION_ID_STALE, LEDGER_BACKLOG, UNKNOWN_CHANNEL,
           UNKNOWN_NODE, NODE_NOT_IN_CHANNEL, TOO_MANY_ROWS, UNKNOWN_SKU, ORDER_FULL, INSUFFICIENT_STOCK, OK
  Invariant: available to promise stays >= 0 at every row taken from ]]
--@include pool ledger rows writable promise

local context, id, id_time, channel, order, ttl, partial, wanted_nodes, lines, prints = unpack(unpack_value(ARGV[3]))
local key = 'rsv:' .. id

if call('EXISTS', PREFIX .. key) == 1 then
  -- The key is known: the first result, or the names of what differs.
  --@include reservation
  local r = load_reservation(id)
  local kept, names, differs = unpack_value(r.fp), { 'channel', 'order_reference', 'ttl_ms', 'partial', 'nodes', 'lines' }, {}
  for i, name in ipairs(names) do
    if kept[i] ~= prints[i] then
      differs[#differs + 1] = name
    end
  end
  if #differs > 0 then
    return refuse('KEY_REUSED', differs)
  end
  local first, moves = unpack_value(r.head), {}
  for number, line in ipairs(r.lines) do
    moves[number] = { number, line[SKU], line[NODE], line[QUANTITY] }
  end
  return pack({ 'OK', {}, first[4], first[2], true, 'HELD', first[3], moves, r.short and unpack_value(r.short) or {} })
elseif id_time ~= 0 and (now - id_time > limits.RETENTION_MS or id_time - now > limits.ID_AHEAD_MS_MAX) then
  return refuse('RESERVATION_ID_STALE')
elseif revision - tonumber(head[5]) >= limits.LEDGER_BACKLOG_MAX then
  return refuse('LEDGER_BACKLOG')
end

local cfg = call('HMGET', PREFIX .. 'cfg', 'channel:' .. channel, 'shut')
if not cfg[1] then
  return refuse('UNKNOWN_CHANNEL', { channel })
end
local nodes, shut = unpack_value(cfg[1]), shut_nodes(cfg[2])
if #wanted_nodes > 0 then
  local sells, unknown, foreign = {}, {}, {}
  for _, node in ipairs(nodes) do
    sells[node] = true
  end
  for _, node in ipairs(wanted_nodes) do
    if not sells[node] then
      local list = call('HEXISTS', PREFIX .. 'cfg', 'node:' .. node) == 1 and foreign or unknown
      list[#list + 1] = node
    end
  end
  if #unknown > 0 then
    return refuse('UNKNOWN_NODE', unknown)
  elseif #foreign > 0 then
    return refuse('NODE_NOT_IN_CHANNEL', foreign)
  end
  nodes = wanted_nodes
end
if #lines * #nodes > limits.SCRIPT_ROWS_MAX then
  return refuse('TOO_MANY_ROWS')
end

local moves, rows, short, unknown = {}, {}, {}, {}
for _, want in ipairs(lines) do
  local sku, left = want[1], want[2]
  local cells = call('HMGET', PREFIX .. 'stk:' .. sku, '@', unpack(nodes))
  if not cells[1] then
    unknown[#unknown + 1] = sku
  else
    local safety = kept_back(cells[1])
    for i, node in ipairs(nodes) do
      if left > 0 and cells[i + 1] and not shut[node] then
        local row = read_row(cells[i + 1])
        local take = math.min(left, math.max(0, row.before - safety))
        if take > 0 then
          moves[#moves + 1] = { #moves + 1, sku, node, take }
          rows[#rows + 1] = row
          left = left - take
        end
      end
    end
    if left > 0 then
      short[#short + 1] = { sku, want[2], want[2] - left }
    end
  end
end
if #unknown > 0 then
  return refuse('UNKNOWN_SKU', unknown)
end
local siblings = order ~= '' and call('HLEN', PREFIX .. 'ord:' .. order) or 0
if siblings >= limits.ORDER_RESERVATIONS_MAX then
  return refuse('ORDER_FULL')
elseif #short > 0 and (not partial or #moves == 0) then
  return pack({ 'INSUFFICIENT_STOCK', {}, revision, now, false, '', 0, {}, short })
end

local bytes = 0
for _, move in ipairs(moves) do
  bytes = bytes + 3 * (#move[2] + #move[3]) + limits.LEDGER_ROW_BYTES
end
if bytes > limits.LEDGER_ENTRY_BYTES_MAX then
  return refuse('TOO_MANY_ROWS')
end

local expire_ms, first = now + ttl, revision + 1
begin(key)
local record = { 'state', 'HELD', 'exp', expire_ms, 'head', pack({ channel, now, expire_ms, first }), 'fp', pack(prints) }
for number, move in ipairs(moves) do
  local sku, node, take = move[2], move[3], move[4]
  shift(rows[number], sku, node, RESERVED, take)
  put_row(sku, node, rows[number], id)
  record[#record + 1] = number
  record[#record + 1] = pack({ sku, node, take, 0, 0 })
end
if #short > 0 then
  record[#record + 1] = 'short'
  record[#record + 1] = pack(short)
end
if order ~= '' then
  record[#record + 1] = 'ord'
  record[#record + 1] = order
  if siblings == 0 then
    begin('ord:' .. order)
  else
    write('PERSIST', 'ord:' .. order)
  end
  write('HSET', 'ord:' .. order, id, 0)
end
write('HSET', key, unpack(record))
write('ZADD', 'exp', expire_ms, id)
write('ZADD', 'opn', now, id)
append('reserve', id, context)
return pack({ 'OK', {}, first, now, false, 'HELD', expire_ms, moves, short })
