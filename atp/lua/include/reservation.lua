-- reservation: the record of one reservation, its life cycle and the results of its operations.
local SKU, NODE, QUANTITY, RELEASED, SHIPPED, PICKS, LOOSE = 1, 2, 3, 4, 5, 6, 7

local function load_reservation(id)
  local flat = call('HGETALL', PREFIX .. 'rsv:' .. id)
  if #flat == 0 then
    return nil
  end
  local r = { id = id, flat = flat, lines = {}, operations = 0 }
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local number = tonumber(field)
    if number then
      r.lines[number] = unpack_value(value)
    else
      r[field] = value
      if string.sub(field, 1, 2) == 'o:' then
        r.operations = r.operations + 1
      end
    end
  end
  r.expire = tonumber(r.exp)
  return r
end

local function open_units(line)
  return line[QUANTITY] - line[RELEASED] - line[SHIPPED]
end

-- The term in which the reservation's open units stand.
local function bucket(r)
  return r.state == 'HELD' and RESERVED or ALLOCATED
end

-- Of what is open, no longer on hand. Units are shipped as if the picked ones left first.
local function picked_units(line)
  return math.max(0, (line[PICKS] or 0) - line[SHIPPED])
end

-- Open units of a line fall: the one way in which they do. `to` is where the line counts them from now on, RELEASED or SHIPPED; nil for an
-- expiry, after which they are open for whoever takes them again. Returns how many fewer are picked. The caller stores row and line.
-- No more stays picked than is open: what an order gives back lies loose beside its shelf, and is on hand again once it is put back.
local function lower_open(r, line, row, units, to)
  shift(row, line[SKU], line[NODE], bucket(r), -units)
  local picks, before = line[PICKS], picked_units(line)
  if to then
    line[to] = line[to] + units
  end
  if not picks then
    return 0
  end
  line[PICKS] = math.min(picks, to and line[QUANTITY] - line[RELEASED] or line[SHIPPED])
  line[LOOSE] = (line[LOOSE] or 0) + picks - line[PICKS]
  local fallen = before - picked_units(line)
  shift(row, line[SKU], line[NODE], ROW_PICKED, -fallen)
  return fallen
end

-- Stores a line; what few lines have stands at its end, and takes no room in the others.
local function put_line(r, number)
  local line = r.lines[number]
  local loose = (line[LOOSE] or 0) ~= 0
  line[PICKS] = (loose or (line[PICKS] or 0) ~= 0) and (line[PICKS] or 0) or nil
  line[LOOSE] = loose and line[LOOSE] or nil
  write('HSET', 'rsv:' .. r.id, number, pack(line))
end

local function set_state(r, state)
  r.state = state
  write('HSET', 'rsv:' .. r.id, 'state', state)
end

-- Takes the reservation out of what is open; its record lives on for the retention.
local function finish(r, state)
  if r.state == 'HELD' then
    write('ZREM', 'exp', r.id)
  end
  write('ZREM', 'opn', r.id)
  set_state(r, state)
  write('PEXPIREAT', 'rsv:' .. r.id, now + limits.RETENTION_MS)
  if not r.ord then
    return
  end
  write('HSET', 'ord:' .. r.ord, r.id, now)
  for _, ended in ipairs(call('HVALS', PREFIX .. 'ord:' .. r.ord)) do
    if ended == '0' then
      return
    end
  end
  write('PEXPIREAT', 'ord:' .. r.ord, now + limits.RETENTION_MS)
end

-- FULFILLED or RELEASED once nothing is open.
local function finish_if_done(r)
  local shipped = 0
  for _, line in ipairs(r.lines) do
    if open_units(line) > 0 then
      return
    end
    shipped = shipped + line[SHIPPED]
  end
  finish(r, shipped > 0 and 'FULFILLED' or 'RELEASED')
end

-- The units that `parts` name, 0 meaning all that is open on the line; no parts: all that is open.
-- Returns moves { number, sku, node, quantity }, or nil with the status and the offending numbers.
local function choose(r, parts)
  local moves, unknown, exceeding = {}, {}, {}
  for number, line in ipairs(#parts == 0 and r.lines or {}) do
    if open_units(line) > 0 then
      moves[#moves + 1] = { number, line[SKU], line[NODE], open_units(line) }
    end
  end
  for _, part in ipairs(parts) do
    local line = r.lines[part[1]]
    local quantity = line and (part[2] > 0 and part[2] or open_units(line))
    if not line then
      unknown[#unknown + 1] = tostring(part[1])
    elseif quantity == 0 or quantity > open_units(line) then
      exceeding[#exceeding + 1] = tostring(part[1])
    else
      moves[#moves + 1] = { part[1], line[SKU], line[NODE], quantity }
    end
  end
  return moves, unknown, exceeding
end

local function flatten(moves)
  local flat = {}
  for _, move in ipairs(moves) do
    flat[#flat + 1] = move[1]
    flat[#flat + 1] = move[4]
  end
  return flat
end

-- Moves as they were answered first, from the numbers and quantities that were kept.
local function unflatten(r, flat)
  local moves = {}
  for i = 1, #flat, 2 do
    local line = r.lines[flat[i]]
    moves[#moves + 1] = { flat[i], line[SKU], line[NODE], flat[i + 1] }
  end
  return moves
end

-- Keeps an operation's result under its key for the entry to come, and answers it.
local function keep(r, key, verb, fingerprint, moves)
  local first = revision + 1
  write('HSET', 'rsv:' .. r.id, 'o:' .. key, pack({ verb, fingerprint, first, now, r.state, r.expire, flatten(moves) }))
  return pack({ 'OK', {}, first, now, false, r.state, r.expire, moves })
end

-- The first result of a key that was used before, or the refusal of another request under it; nil for a new key.
local function known_operation(r, key, verb, fingerprint, argument)
  local kept = r['o:' .. key]
  if not kept then
    return nil
  end
  local o = unpack_value(kept)
  if o[1] ~= verb then
    return refuse('KEY_REUSED', { 'verb' })
  elseif o[2] ~= fingerprint then
    return refuse('KEY_REUSED', { argument })
  end
  return pack({ 'OK', {}, o[3], o[4], true, o[5], o[6], unflatten(r, o[7]) })
end
