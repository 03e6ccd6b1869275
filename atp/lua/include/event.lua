-- event: what feed scripts check before anything else. Needs pool, ledger, rows, window.

-- Nil if `source` is the authority of `node` and every SKU is known, else the refusal.
local function refuse_event(source, node, lines)
  local cfg = call('HMGET', PREFIX .. 'cfg', 'source:' .. source, 'node:' .. node)
  if not cfg[1] then
    return refuse('UNKNOWN_SOURCE', { source })
  elseif not cfg[2] then
    return refuse('UNKNOWN_NODE', { node })
  elseif unpack_value(cfg[2])[3] ~= source then
    return refuse('NOT_AUTHORITY', { source })
  end
  local unknown = {}
  for _, line in ipairs(lines) do
    if call('HEXISTS', PREFIX .. 'stk:' .. line[1], '@') == 0 then
      unknown[#unknown + 1] = line[1]
    end
  end
  return #unknown > 0 and refuse('UNKNOWN_SKU', unknown) or nil
end

-- Meets every line with its window. Returns { line, window, verdict } per line and how many are new and known,
-- or nil and the refusal.
local function meet_windows(node, sequence, fingerprint, lines, is_snapshot)
  local met, new, known, conflicts, below = {}, 0, 0, {}, {}
  for i, line in ipairs(lines) do
    local window = load_window(line[1], node)
    local verdict = window_verdict(window, sequence, fingerprint, is_snapshot)
    met[i] = { line = line, sku = line[1], window = window, verdict = verdict }
    if verdict == 'conflict' then
      conflicts[#conflicts + 1] = line[1]
    elseif verdict == 'below' then
      below[#below + 1] = line[1]
    elseif verdict == 'new' then
      new = new + 1
    elseif verdict == 'known' then
      known = known + 1
    end
  end
  if #conflicts > 0 then
    return nil, refuse('SEQUENCE_CONFLICT', conflicts)
  elseif #below > 0 then
    return nil, refuse('SEQUENCE_BELOW_WINDOW', below)
  end
  return met, nil, new, known
end

-- Loads the rows of new lines; returns the SKUs whose figures would pass the bound. `change(m)` gives three deltas.
local function load_rows(met, node, change)
  local beyond = {}
  for _, m in ipairs(met) do
    m.row = load_row(m.sku, node)
    if m.verdict == 'new' then
      m.change = change(m)
      for term = ON_HAND, QUALITY_HOLD do
        if out_of_range(m.row, term, m.change[term]) then
          beyond[#beyond + 1] = m.sku
          break
        end
      end
    end
  end
  return beyond
end

local function shift_figures(m, node)
  for term = ON_HAND, QUALITY_HOLD do
    shift(m.row, m.sku, node, term, m.change[term])
  end
end
