-- window: per SKU and node, the last snapshot as a base and the latest deltas (DESIGN rule 6).
local SNAP_SEQUENCE, SNAP_FINGERPRINT, AS_OF, FOLD_SEQUENCE, BASE, DELTAS = 1, 2, 3, 4, 5, 8
local STRIDE = 5 -- sequence, fingerprint and three changes

local function load_window(sku, node)
  local kept = call('HGET', PREFIX .. 'win:' .. sku, node)
  return kept and unpack_value(kept) or { 0, 0, 0, 0, 0, 0, 0, {} }
end

local function put_window(sku, node, window)
  write('HSET', 'win:' .. sku, node, pack(window))
end

-- What an event of this sequence is to the window: new, known, superseded, conflict or below.
local function window_verdict(window, sequence, fingerprint, is_snapshot)
  local deltas = window[DELTAS]
  if sequence == window[SNAP_SEQUENCE] then
    return is_snapshot and fingerprint == window[SNAP_FINGERPRINT] and 'known' or 'conflict'
  elseif sequence < window[SNAP_SEQUENCE] then
    return 'superseded'
  end
  for i = #deltas - STRIDE + 1, 1, -STRIDE do
    if deltas[i] == sequence then
      return not is_snapshot and fingerprint == deltas[i + 1] and 'known' or 'conflict'
    elseif deltas[i] < sequence then
      break
    end
  end
  return sequence <= window[FOLD_SEQUENCE] and 'below' or 'new'
end

-- Puts a delta in its place; past the bound the oldest folds into the base.
local function window_add(window, sequence, fingerprint, change)
  local deltas, at = window[DELTAS], 1
  for i = #deltas - STRIDE + 1, 1, -STRIDE do
    if deltas[i] < sequence then
      at = i + STRIDE
      break
    end
  end
  for i = #deltas, at, -1 do
    deltas[i + STRIDE] = deltas[i]
  end
  deltas[at], deltas[at + 1] = sequence, fingerprint
  deltas[at + 2], deltas[at + 3], deltas[at + 4] = change[1], change[2], change[3]
  if #deltas <= limits.WINDOW_DELTAS_MAX * STRIDE then
    return
  end
  window[FOLD_SEQUENCE] = deltas[1]
  for i = 0, 2 do
    window[BASE + i] = window[BASE + i] + deltas[3 + i]
  end
  window[DELTAS] = { unpack(deltas, STRIDE + 1) }
end

-- Takes a snapshot as the new base. Returns the figures now: base and the deltas after it.
local function window_rebase(window, sequence, fingerprint, as_of, figures)
  local kept, total = {}, { figures[1], figures[2], figures[3] }
  local deltas = window[DELTAS]
  for i = 1, #deltas, STRIDE do
    if deltas[i] > sequence then
      for j = 0, STRIDE - 1 do
        kept[#kept + 1] = deltas[i + j]
      end
      for term = 1, 3 do
        total[term] = total[term] + deltas[i + 1 + term]
      end
    end
  end
  window[SNAP_SEQUENCE], window[SNAP_FINGERPRINT], window[AS_OF], window[FOLD_SEQUENCE] = sequence, fingerprint, as_of, sequence
  window[BASE], window[BASE + 1], window[BASE + 2], window[DELTAS] = figures[1], figures[2], figures[3], kept
  return total
end
