-- snapshot: what the levels that a source counts mean to its windows and figures. Needs pool, ledger, rows, window, event.

-- The snapshots in force with one more, of the figures `set`, which leave the older ones.
local function snaps_with(snaps, sequence, fingerprint, set)
  local kept, placed = {}, false
  local function keep(at, print, mask)
    if mask ~= 0 then
      kept[#kept + 1], kept[#kept + 2], kept[#kept + 3] = at, print, mask
    end
  end
  for i = 1, #snaps, SNAP_STRIDE do
    if not placed and snaps[i] < sequence then
      keep(sequence, fingerprint, set)
      placed = true
    end
    keep(snaps[i], snaps[i + 1], band(snaps[i + 2], bnot(set)))
  end
  if not placed then
    keep(sequence, fingerprint, set)
  end
  return kept
end

-- The figures that a snapshot after `sequence` has.
local function snapped_after(snaps, sequence)
  local mask = 0
  for i = 1, #snaps, SNAP_STRIDE do
    if snaps[i] > sequence then
      mask = mask + snaps[i + 2]
    end
  end
  return mask
end

-- Puts a snapshot of the figures `set` in force; deltas that mean nothing any more leave. Returns what the deltas after it add to each figure.
local function window_snap(window, sequence, fingerprint, as_of, set)
  local snaps, deltas = snaps_with(window[SNAPS], sequence, fingerprint, set), window[DELTAS]
  local kept, after = {}, { 0, 0, 0 }
  for i = 1, #deltas, STRIDE do
    local a, b, c = deltas[i + 2], deltas[i + 3], deltas[i + 4]
    if deltas[i] > sequence then
      after[1], after[2], after[3] = after[1] + a, after[2] + b, after[3] + c
    end
    if band(figures_of(a, b, c), bnot(snapped_after(snaps, deltas[i]))) ~= 0 then
      for j = i, i + STRIDE - 1 do
        kept[#kept + 1] = deltas[j]
      end
    end
  end
  window[SNAPS], window[DELTAS] = snaps, kept
  if snapped_after(snaps, 0) == ALL_FIGURES then
    window[FOLD_SEQUENCE] = math.max(window[FOLD_SEQUENCE], snaps[#snaps - SNAP_STRIDE + 1])
  end
  if band(set, 1) ~= 0 then
    window[AS_OF] = as_of
  end
  return after
end

-- Puts new lines of a snapshot in force and leaves in `change` what they add now; the refusal, if a figure would pass its bound.
local function weigh_levels(from, met, as_of)
  local beyond = {}
  for _, m in ipairs(met) do
    if m.verdict == 'new' then
      load_figures(from, m)
      local set = band(m.named, m.free)
      local after = window_snap(m.window, m.place, from.fingerprint, as_of, set)
      local is_beyond = false
      m.change = { 0, 0, 0 }
      for i = 1, 3 do
        if band(set, FIGURE_BITS[i]) ~= 0 then
          local level = m.line[i + 1] + after[i] + (i == ON_HAND and from.is_net and m.line[6] or 0)
          m.change[i] = level - (band(m.ours, FIGURE_BITS[i]) ~= 0 and m.row or m.compared)[i]
          is_beyond = is_beyond or math.abs(level) > limits.FIGURE_MAX
        end
      end
      if band(set, m.others) ~= 0 then
        m.compared[4] = math.max(m.compared[4], as_of)
      end
      beyond[#beyond + 1] = is_beyond and m.sku or nil
    end
  end
  return #beyond > 0 and refuse('QUANTITY_OUT_OF_RANGE', beyond) or nil
end
