-- seen: events that are known by their id: those whose effect goes beyond windows, and those of sources that have nothing but ids.

-- 'known' if this event was applied, 'conflict' if another one was under its id, else nil.
local function seen_before(source, event_id, fingerprint)
  local kept = call('HGET', PREFIX .. 'evt:' .. source .. ' ' .. event_id, 'fp')
  return kept and (tonumber(kept) == fingerprint and 'known' or 'conflict') or nil
end

-- Nil for an event that was not applied before, else the refusal.
local function refuse_seen(source, event_id, fingerprint)
  local seen = seen_before(source, event_id, fingerprint)
  if seen then
    return seen == 'known' and refuse('DUPLICATE') or refuse('SEQUENCE_CONFLICT', { event_id })
  end
end

local function keep_seen(source, event_id, fingerprint)
  local key = 'evt:' .. source .. ' ' .. event_id
  write('HSET', key, 'fp', fingerprint)
  write('PEXPIREAT', key, now + limits.SHIPMENT_RETENTION_MS)
end
