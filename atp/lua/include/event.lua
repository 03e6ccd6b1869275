-- event: how an event about the stock of a node is met: who tells it, its place, then the window of each of its lines.
-- Needs pool, ledger, rows, window. What only some events need is made only for them.

-- The figures of a node, as a mask, that a source is the authority of.
local function authority_of(source, node)
  local own = 0
  for i = 1, 3 do
    local authority = node[i + 2] ~= '' and node[i + 2] or node[3]
    own = own + (authority == source and FIGURE_BITS[i] or 0)
  end
  return own
end

-- What is provisioned of a source and of a node, false where nothing is. Several events of one call are mostly of few.
local provisioned = {}
local function look_up(source, node)
  local name = source .. ' ' .. node
  local found = provisioned[name]
  if not found then
    local cfg = call('HMGET', PREFIX .. 'cfg', 'source:' .. source, 'node:' .. node)
    found = { cfg[1] and unpack_value(cfg[1]), cfg[2] and unpack_value(cfg[2]) }
    provisioned[name] = found
  end
  return found[1], found[2]
end

-- Who tells of a node, and what its word counts for; or nil and the refusal. `kept`: the verb keeps its events by their ids.
local function hear(source, node, event_id, sequence, moment, fingerprint, lines, kept)
  local says, at = look_up(source, node)
  if not says then
    return nil, refuse('UNKNOWN_SOURCE', { source })
  elseif not at then
    return nil, refuse('UNKNOWN_NODE', { node })
  end
  local has_ids_only, place = says[3] == 'id', says[3] == 'time' and moment or sequence
  if not has_ids_only and place == 0 then
    return nil, refuse('SEQUENCE_MISSING', { source })
  end
  kept = kept or has_ids_only
  if kept then
    --@include seen
    local seen = refuse_seen(source, event_id, fingerprint)
    if seen then
      return nil, seen
    end
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
-- Returns per line what it means there (`free`, `ours`, `others` are masks), and how many are new and known; or nil and the refusal.
-- With `from.takes_late` what cannot be placed any more is no refusal.
local function meet_windows(from, lines, changes)
  local met, new, known, conflicts, below = {}, 0, 0, {}, {}
  for i, line in ipairs(lines) do
    local sku = line[1]
    local window, is_there = load_window(sku, from.node, from.source)
    if not is_there then
      window = empty_window(last_full(from))
    end
    local place, change, named = from.place or window_next(window), changes and { changes(line) }, line[5]
    if change then
      named = figures_of(change[1], change[2], change[3])
    end
    local verdict, free = window_verdict(window, place, from.fingerprint, named, not changes)
    met[i] = {
      line = line,
      sku = sku,
      window = window,
      place = place,
      change = change,
      named = named,
      verdict = verdict,
      free = free,
      ours = band(named, from.own),
      others = band(named, bnot(from.own)),
    }
    if verdict == 'new' then
      new = new + 1
    elseif verdict == 'known' then
      known = known + 1
    elseif verdict == 'conflict' then
      conflicts[#conflicts + 1] = sku
    elseif verdict == 'below' and not from.takes_late then
      below[#below + 1] = sku
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

-- Reads where a new line's figures stand: its row, if the source is their authority, else what is kept for comparison.
local function load_figures(from, m)
  if m.ours ~= 0 then
    m.row = load_row(m.sku, from.node)
  end
  if m.others ~= 0 then
    local kept = call('HGET', PREFIX .. 'cmp:' .. m.sku, from.node .. ' ' .. from.source)
    m.compared = kept and unpack_value(kept) or { 0, 0, 0, 0, 0 }
  end
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
          local figures = band(m.ours, FIGURE_BITS[i]) ~= 0 and m.row or m.compared
          is_beyond = is_beyond or math.abs(figures[i] + m.change[i]) > limits.FIGURE_MAX
        end
      end
      beyond[#beyond + 1] = is_beyond and m.sku or nil
    end
  end
  return #beyond > 0 and refuse('QUANTITY_OUT_OF_RANGE', beyond) or nil
end

-- Writes a new line's window and what is kept for comparison, and shifts the figures of its row, which is still to be put.
local function apply_line(from, m)
  local sku, node, c = m.sku, from.node, m.compared
  for i = 1, 3 do
    local change = m.change[i]
    if change ~= 0 and band(m.ours, FIGURE_BITS[i]) ~= 0 then
      shift(m.row, sku, node, i, change)
      m.window[CHANGED_MS] = now
    elseif change ~= 0 then
      c[i] = c[i] + change
    end
  end
  put_window(sku, node, from.source, m.window)
  if c then
    write('HSET', 'cmp:' .. sku, node .. ' ' .. from.source, pack({ c[1], c[2], c[3], c[4], revision + 1 }))
  end
end

-- Ends the change that an event made.
local function append_event(from, verb, cause, context)
  if from.kept then
    --@include seen
    keep_seen(from.source, from.event_id, from.fingerprint)
  end
  append(verb, cause, context)
end
