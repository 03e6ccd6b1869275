#!lua
--[[ count: a snapshot: what a source says is there, of the SKUs and figures that it names. That of a node's issuer books what was shipped
  before it.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, win:<sku>, cmp:<sku>, unb:<sku>, shp:<id>, evt:<source> <event>, ledger of the pool,
           and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Count
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, SEQUENCE_MISSING, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, QUANTITY_OUT_OF_RANGE, OK ]]
--@include pool ledger rows writable seen window event unbooked

local context, event_id, source, node, sequence, fingerprint, as_of, lines, moment, kind = unpack(unpack_value(ARGV[3]))
as_of = math.min(as_of, now) -- a count of the future would contain shipments that are still to come
local from, refusal = hear(source, node, event_id, sequence, moment, fingerprint, lines)
if not from then
  return refusal
end
local met, conflict, new = meet_windows(from, lines)
if not met then
  return conflict
elseif new == 0 then
  return refuse('DUPLICATE')
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
  table.sort(ids)
  for _, id in ipairs(ids) do
    bookings = bookings + 1
    if bookings > limits.BOOKINGS_MAX then
      return -- they stay unbooked, which promises less, until the next snapshot
    end
    book(m.row, m.sku, node, id)
  end
end

for _, m in ipairs(met) do
  if m.verdict == 'new' then
    apply_line(from, m)
    if from.is_issuer and band(m.named, m.free, 1) ~= 0 then
      book_shipped(m)
    end
    if m.row then
      put_row(m.sku, node, m.row, event_id)
    end
  end
end
append_event(from, kind, event_id, context)
return refuse('OK')
