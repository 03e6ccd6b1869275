#!lua
--[[ count: a snapshot: what a source says is there, of the SKUs and figures that it names. That of a node's issuer books what was shipped
  before it. The parts of a full one are counted.
  KEYS[1]  {pool}:pool. Touches cfg, syn:<node> <source>, prt:<node> <source> <sequence>, stk:<sku>, win:<sku>, cmp:<sku>, unb:<sku>,
           shp:<id>, evt:<source> <event>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Count
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, TOO_MANY_ROWS, QUANTITY_OUT_OF_RANGE, OK; with DUPLICATE and OK
           whether all parts have come ]]
--@include pool ledger rows writable window event snapshot unbooked

local context, event_id, source, node, sequence, fingerprint, as_of, lines, moment, kind, part, parts = unpack(unpack_value(ARGV[3]))
as_of = math.min(as_of, now) -- a count of the future would contain shipments that are still to come
local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines)
if not from then
  return refusal
elseif parts > 0 and not from.place then
  return refuse('SEQUENCE_MISSING', { source }) -- by ids alone nobody can tell what a full snapshot left out
end

-- Of a full snapshot that is not complete yet: the key of its parts, unless this one is known, and whether it is the last that was missing.
local parts_key, is_whole
local key = parts > 0 and from.place >= last_full(from) and string.format('prt:%s %s %d', node, source, from.place)
local kept = key and call('HMGET', PREFIX .. key, 'parts', part)
if key and (from.place > from.full or kept[1]) then
  if kept[1] and tonumber(kept[1]) ~= parts then
    return refuse('SEQUENCE_CONFLICT', { event_id })
  end
  parts_key = not kept[2] and key or nil
  is_whole = math.max(0, call('HLEN', PREFIX .. key) - 1) + (parts_key and 1 or 0) == parts
end
local function answer(status)
  return pack({ status, {}, revision, now, false, '', 0, {}, {}, {}, is_whole or false })
end

local met, conflict, new = meet_windows(from, lines)
if not met then
  return conflict
elseif new == 0 and not parts_key then
  return answer('DUPLICATE')
end
local room = entry_room(from, met, event_id)
if room < 0 then
  return refuse('TOO_MANY_ROWS')
end
local beyond = weigh_levels(from, met, as_of)
if beyond then
  return beyond
end

-- Books the shipments of a SKU at this node that the snapshot's figures already contain, in order of their ids.
local bookings = 0
local function book_shipped(m)
  local flat, ids = call('HGETALL', PREFIX .. 'unb:' .. m.sku), {}
  for i = 1, #flat, 2 do
    local at, id = string.match(flat[i], '^(%S+) (.+)$')
    if at == node and unpack_value(flat[i + 1])[2] <= as_of then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids, is_before)
  for _, id in ipairs(ids) do
    bookings = bookings + 1
    room = room - 2 * (#m.sku + #node) - 3 * #id - limits.BOOKING_BYTES
    if bookings > limits.BOOKINGS_MAX or room < 0 then
      return -- they stay unbooked, which promises less, until the next snapshot
    end
    book(m.row, m.sku, node, id)
  end
end

for _, m in ipairs(met) do
  if m.verdict == 'new' then
    apply_line(from, m)
    if from.is_issuer and band(m.named, m.free, 1) ~= 0 and m.row[SHIPPED_UNBOOKED] ~= 0 then
      book_shipped(m)
    end
    if m.row then
      put_row(m.sku, node, m.row, event_id)
    end
  end
end
if parts_key then
  write('HSET', parts_key, 'parts', parts, part, 1)
  write('PEXPIREAT', parts_key, now + limits.SHIPMENT_RETENTION_MS)
end
append_event(from, kind, event_id, context)
return answer('OK')
