-- window: per SKU, node and source, the snapshots in force and the latest deltas (DESIGN rule 6). Figures stand nowhere in it:
-- they are in the row, or in what is kept for comparison, and change with what a new event adds.
local FOLD_SEQUENCE, AS_OF, SNAPS, DELTAS = 1, 2, 3, 4
local CHANGED_MS = 5 -- when it last changed a figure of the row; not there if it never has
local STRIDE = 5 -- of a delta: sequence, fingerprint and three changes
local SNAP_STRIDE = 3 -- of a snapshot: sequence, fingerprint and the mask of its figures
local FIGURE_BITS = { 1, 2, 4 } -- on_hand, damaged, quality_hold, as their terms are numbered
local ALL_FIGURES = 7
local band, bnot = bit.band, bit.bnot

local SILENCE = 0 -- the fingerprint of a snapshot that said 0 by leaving out

-- The window of what was not there yet when the last full snapshot of its source left it out; 0: there was none.
local function empty_window(full)
  return { full, 0, full > 0 and { full, SILENCE, ALL_FIGURES } or {}, {} }
end

-- The window, and whether anything was met yet.
local function load_window(sku, node, source)
  local kept = call('HGET', PREFIX .. 'win:' .. sku, node .. ' ' .. source)
  return kept and unpack_value(kept) or empty_window(0), kept and true or false
end

local function put_window(sku, node, source, window)
  write('HSET', 'win:' .. sku, node .. ' ' .. source, pack(window))
end

-- One more than the highest sequence it knows: the place of an event whose source has ids only.
local function window_next(window)
  local deltas = window[DELTAS]
  return math.max(window[FOLD_SEQUENCE], window[SNAPS][1] or 0, deltas[#deltas - STRIDE + 1] or 0) + 1
end

-- What an event of this sequence is that changes or names these figures: new, known, superseded, conflict or below.
-- And the figures, of all three, that no later snapshot has: those that it can change.
local function window_verdict(window, sequence, fingerprint, named, is_snapshot)
  local snaps, deltas, free = window[SNAPS], window[DELTAS], ALL_FIGURES
  for i = 1, #snaps, SNAP_STRIDE do
    if snaps[i] == sequence then
      return is_snapshot and (fingerprint == snaps[i + 1] or snaps[i + 1] == SILENCE) and 'known' or 'conflict', free
    elseif snaps[i] > sequence then
      free = band(free, bnot(snaps[i + 2]))
    end
  end
  for i = #deltas - STRIDE + 1, 1, -STRIDE do
    if deltas[i] == sequence then
      return not is_snapshot and fingerprint == deltas[i + 1] and 'known' or 'conflict', free
    elseif deltas[i] < sequence then
      break
    end
  end
  if band(named, free) == 0 then
    return 'superseded', free
  end
  return sequence <= window[FOLD_SEQUENCE] and 'below' or 'new', free
end

-- Puts a delta in its place; past the bound the oldest leaves, and what is not after it can no longer be told apart.
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
  if #deltas > limits.WINDOW_DELTAS_MAX * STRIDE then
    window[FOLD_SEQUENCE] = deltas[1]
    window[DELTAS] = { unpack(deltas, STRIDE + 1) }
  end
end

-- The figures that a change concerns; one of nothing concerns all.
local function figures_of(a, b, c)
  local mask = (a ~= 0 and 1 or 0) + (b ~= 0 and 2 or 0) + (c ~= 0 and 4 or 0)
  return mask == 0 and ALL_FIGURES or mask
end
