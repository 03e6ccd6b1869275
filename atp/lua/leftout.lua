#!lua flags=no-writes
--[[ leftout: of some SKUs those with figures of a node and source that neither this snapshot has nor a later one.
  KEYS[1]  {pool}:pool. Reads stk:<sku>, win:<sku>, cmp:<sku>
  ARGV[1]  run of the server that the call is sent to (not used: reads work on a closed pool)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { node, source, the snapshot's sequence, SKUs }
  Returns  { { status, detail, revision, time }, SKUs in MessagePack }: OK ]]
--@include pool window

local node, source, sequence, skus = unpack(unpack_value(ARGV[3]))
local field, found = node .. ' ' .. source, {}

local function is_covered(snaps)
  local mask = 0
  for i = 1, #snaps, SNAP_STRIDE do
    mask = mask + (snaps[i] >= sequence and snaps[i + 2] or 0)
  end
  return mask == ALL_FIGURES
end

-- What has no window yet has figures if its row or what is kept for comparison says so. An empty row needs no word: what comes late meets
-- the snapshot all the same.
local function has_figures(sku)
  local row = call('HGET', PREFIX .. 'stk:' .. sku, node)
  row = row and unpack_value(row) or { 0, 0, 0 }
  return row[1] ~= 0 or row[2] ~= 0 or row[3] ~= 0 or call('HEXISTS', PREFIX .. 'cmp:' .. sku, field) == 1
end

for _, sku in ipairs(skus) do
  local window = call('HGET', PREFIX .. 'win:' .. sku, field)
  if (window and not is_covered(unpack_value(window)[SNAPS])) or (not window and has_figures(sku)) then
    found[#found + 1] = sku
  end
end
return { refuse('OK'), pack(found) }
