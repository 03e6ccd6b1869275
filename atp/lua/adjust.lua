#!lua
--[[ adjust: a receipt, an adjustment or a return as the node's authority reports it; signed changes to physical figures.
  KEYS[1]  {pool}:pool. Touches cfg, stk:<sku>, win:<sku>, ledger of the pool, and what expiry touches
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Adjust
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, UNKNOWN_SOURCE, UNKNOWN_NODE, NOT_AUTHORITY, UNKNOWN_SKU,
           SEQUENCE_CONFLICT, SEQUENCE_BELOW_WINDOW, DUPLICATE, QUANTITY_OUT_OF_RANGE, OK ]]
--@include pool ledger rows writable window event

local context, event_id, kind, source, node, sequence, fingerprint, lines = unpack(unpack_value(ARGV[3]))
local refusal = refuse_event(source, node, lines)
if refusal then
  return refusal
end
local met, conflict, new = meet_windows(node, sequence, fingerprint, lines, false)
if not met then
  return conflict
elseif new == 0 then
  return refuse('DUPLICATE')
end
local beyond = load_rows(met, node, function(m)
  return { m.line[2], m.line[3], m.line[4] }
end)
if #beyond > 0 then
  return refuse('QUANTITY_OUT_OF_RANGE', beyond)
end

for _, m in ipairs(met) do
  if m.verdict == 'new' then
    window_add(m.window, sequence, fingerprint, m.change)
    put_window(m.sku, node, m.window)
    shift_figures(m, node)
    put_row(m.sku, node, m.row, event_id)
  end
end
append(kind, event_id, context)
return refuse('OK')
