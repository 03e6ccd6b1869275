-- statement: what a source says of items and locations. The latest word counts, so an earlier one that comes late adds nothing.
-- Needs pool, ledger, seen.
local REGISTERS_ITEMS, REGISTERS_LOCATIONS = 1, 2

-- Who states it and in which place, or nil and the refusal; `right` is what the source must be provisioned to do.
local function hear_statement(right, source, event_id, sequence, moment, fingerprint)
  local kept = call('HGET', PREFIX .. 'cfg', 'source:' .. source)
  if not kept then
    return nil, refuse('UNKNOWN_SOURCE', { source })
  end
  local says = unpack_value(kept)
  local has_ids_only, place = says[3] == 'id', says[3] == 'time' and moment or sequence
  if says[right] ~= 1 then
    return nil, refuse('NOT_AUTHORITY', { source })
  elseif not has_ids_only and place == 0 then
    return nil, refuse('SEQUENCE_MISSING', { source })
  end
  local seen = has_ids_only and seen_before(source, event_id, fingerprint)
  if seen == 'conflict' then
    return nil, refuse('SEQUENCE_CONFLICT', { event_id })
  end
  return {
    source = source,
    event_id = event_id,
    fingerprint = fingerprint,
    place = not has_ids_only and place or nil,
    is_known = seen == 'known',
  }
end

-- What a statement is to the one that is kept: new, known, superseded or conflict; and its place. Without places the last to come is the latest.
local function statement_verdict(from, kept_sequence, kept_fingerprint)
  if from.is_known then
    return 'known'
  end
  local place = from.place or kept_sequence + 1
  if place ~= kept_sequence then
    return place > kept_sequence and 'new' or 'superseded', place
  end
  return from.fingerprint == kept_fingerprint and 'known' or 'conflict', place
end

-- Ends the change that a statement made.
local function append_statement(from, verb, context)
  if not from.place then
    keep_seen(from.source, from.event_id, from.fingerprint)
  end
  append(verb, from.event_id, context)
end
