#!lua
--[[ count: a snapshot by the node's authority; the new base of the SKUs it names, and it books what was shipped before it.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, win:<sku>, unb:<sku>, shp:<id>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Count
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, NOT_AUTHORITY, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, QUANTITY_OUT_OF_RANGE, OK ]]
--@include pool ledger rows writable window event unbooked

local context, event_id, source, node, sequence, fingerprint, as_of, lines = unpack(unpack_value(ARGV[3]))
as_of = math.min(as_of, now) -- a count of the future would contain shipments that are still to come
local refusal = refuse_event(source, node, lines)
if refusal then
  return refusal
end
local met, conflict, new = meet_windows(node, sequence, fingerprint, lines, true)
if not met then
  return conflict
elseif new == 0 then
  return refuse('DUPLICATE')
end
local beyond = load_rows(met, node, function(m)
  local total = window_rebase(m.window, sequence, fingerprint, as_of, { m.line[2], m.line[3], m.line[4] })
  return { total[1] - m.row[ON_HAND], total[2] - m.row[DAMAGED], total[3] - m.row[QUALITY_HOLD] }
end)
if #beyond > 0 then
  return refuse('QUANTITY_OUT_OF_RANGE', beyond)
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
    put_window(m.sku, node, m.window)
    shift_figures(m, node)
    book_shipped(m)
    put_row(m.sku, node, m.row, event_id)
  end
end
append('snapshot', event_id, context)
return refuse('OK')
