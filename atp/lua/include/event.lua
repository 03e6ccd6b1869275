-- event: how an event about the stock of a node is met: who tells it, its place, then the window of each of its lines.
-- Needs pool, ledger, rows, seen, window.

-- The figures of a node, as a mask, that a source is the authority of.
local function authority_of(source, node)
  local own = 0
  for i = 1, 3 do
    local authority = node[i + 2] ~= '' and node[i + 2] or node[3]
    own = own + (authority == source and FIGURE_BITS[i] or 0)
  end
  return own
end

-- Who tells of a node, and what its word counts for; or nil and the refusal. `kept`: the verb keeps its events by their ids.
local function hear(source, node, event_id, sequence, moment, fingerprint, lines, kept)
  local cfg = call('HMGET', PREFIX .. 'cfg', 'source:' .. source, 'node:' .. node)
  if not cfg[1] then
    return nil, refuse('UNKNOWN_SOURCE', { source })
  elseif not cfg[2] then
    return nil, refuse('UNKNOWN_NODE', { node })
  end
  local says, at = unpack_value(cfg[1]), unpack_value(cfg[2])
  local has_ids_only, place = says[3] == 'id', says[3] == 'time' and moment or sequence
  if not has_ids_only and place == 0 then
    return nil, refuse('SEQUENCE_MISSING', { source })
  end
  kept = kept or has_ids_only
  local seen = kept and seen_before(source, event_id, fingerprint)
  if seen == 'known' then
    return nil, refuse('DUPLICATE')
  elseif seen == 'conflict' then
    return nil, refuse('SEQUENCE_CONFLICT', { event_id })
  end
  local unknown = {}
  for _, line in ipairs(lines) do
    if call('HEXISTS', PREFIX .. 'stk:' .. line[1], '@') == 0 then
      unknown[#unknown + 1] = line[1]
    end
  end
  if #unknown > 0 then
    return nil, refuse('UNKNOWN_SKU', unknown)
  end
  return {
    source = source,
    node = node,
    event_id = event_id,
    fingerprint = fingerprint,
    place = not has_ids_only and place or nil,
    kept = kept,
    own = authority_of(source, at), -- the figures of the row that its word changes; what it says of others is kept for comparison
    is_issuer = at[3] == source,
    falls = says[4], -- when its on hand falls: issue or pick
    is_net = says[5] == 'net',
  }
end

-- The sequence of the last full snapshot of the source that is complete, 0 if there is none.
local function last_full(from)
  from.full = from.full or tonumber(call('HGET', PREFIX .. 'syn:' .. from.node .. ' ' .. from.source, 'full')) or 0
  return from.full
end

-- Meets every line with its window; `changes(line)` gives a delta's three changes, without it the lines are a snapshot's.
-- Returns { line, sku, window, place, change, named, verdict, free } per line, and how many are new and known; or nil and the refusal.
local function meet_windows(from, lines, changes)
  local met, new, known, conflicts, below = {}, 0, 0, {}, {}
  for i, line in ipairs(lines) do
    local sku = line[1]
    local window, is_there = load_window(sku, from.node, from.source)
    if not is_there then
      window = empty_window(last_full(from))
    end
    local m = { line = line, sku = sku, window = window, place = from.place or window_next(window) }
    if changes then
      m.change = { changes(line) }
      m.named = figures_of(m.change[1], m.change[2], m.change[3])
    else
      m.named = line[5]
    end
    m.verdict, m.free = window_verdict(window, m.place, from.fingerprint, m.named, not changes)
    met[i] = m
    if m.verdict == 'conflict' then
      conflicts[#conflicts + 1] = sku
    elseif m.verdict == 'below' then
      below[#below + 1] = sku
    elseif m.verdict == 'new' then
      new = new + 1
    elseif m.verdict == 'known' then
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

-- How many bytes are left in the entry of an event beside its new lines, each at its largest, as atp/limits.py counts them.
local function entry_room(from, met, cause)
  local room = limits.LEDGER_ENTRY_BYTES_MAX - limits.ENTRY_HEAD_BYTES
  for _, m in ipairs(met) do
    if m.verdict == 'new' then
      local deltas = #m.window[DELTAS] / STRIDE + 1
      local names = 8 * (#m.sku + #from.node) + 2 * #from.source + #cause
      room = room - names - limits.EVENT_LINE_BYTES - deltas * limits.WINDOW_DELTA_BYTES
    end
  end
  return room
end

local function load_compared(sku, from)
  local kept = call('HGET', PREFIX .. 'cmp:' .. sku, from.node .. ' ' .. from.source)
  return kept and unpack_value(kept) or { 0, 0, 0, 0, 0 }
end

-- Where a new line's figures stand: in its row, if the source is their authority, else in what is kept for comparison.
local function load_figures(from, m)
  m.ours, m.others = band(m.named, from.own), band(m.named, bnot(from.own))
  m.row = m.ours ~= 0 and load_row(m.sku, from.node) or nil
  m.compared = m.others ~= 0 and load_compared(m.sku, from) or nil
end

local function figure(m, i)
  return (band(m.ours, FIGURE_BITS[i]) ~= 0 and m.row or m.compared)[i]
end

-- Puts new lines of deltas into their windows and leaves in `change` what they add now; the refusal, if a figure would pass its bound.
local function weigh_deltas(from, met)
  local beyond = {}
  for _, m in ipairs(met) do
    if m.verdict == 'new' then
      load_figures(from, m)
      window_add(m.window, m.place, from.fingerprint, m.change)
      local is_beyond = false
      for i = 1, 3 do
        if m.change[i] ~= 0 then
          m.change[i] = band(m.free, FIGURE_BITS[i]) ~= 0 and m.change[i] or 0
          is_beyond = is_beyond or math.abs(figure(m, i) + m.change[i]) > limits.FIGURE_MAX
        end
      end
      beyond[#beyond + 1] = is_beyond and m.sku or nil
    end
  end
  return #beyond > 0 and refuse('QUANTITY_OUT_OF_RANGE', beyond) or nil
end

-- The same for the lines of a snapshot.
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
          m.change[i] = level - figure(m, i)
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

-- Writes a new line's window and what is kept for comparison, and shifts the figures of its row, which is still to be put.
local function apply_line(from, m)
  local sku, node, c = m.sku, from.node, m.compared
  put_window(sku, node, from.source, m.window)
  for i = 1, 3 do
    if band(m.ours, FIGURE_BITS[i]) ~= 0 then
      shift(m.row, sku, node, i, m.change[i])
    elseif band(m.others, FIGURE_BITS[i]) ~= 0 then
      c[i] = c[i] + m.change[i]
    end
  end
  if c then
    write('HSET', 'cmp:' .. sku, node .. ' ' .. from.source, pack({ c[1], c[2], c[3], c[4], revision + 1 }))
  end
end

-- Ends the change that an event made.
local function append_event(from, verb, cause, context)
  if from.kept then
    keep_seen(from.source, from.event_id, from.fingerprint)
  end
  append(verb, cause, context)
end
