-- statement: what a source says of items and locations. The latest word counts, so an earlier one that comes late adds nothing.

-- What a statement is to the one that is kept: new, known, superseded or conflict.
local function statement_verdict(sequence, fingerprint, kept_sequence, kept_fingerprint)
  if sequence ~= kept_sequence then
    return sequence > kept_sequence and 'new' or 'superseded'
  end
  return fingerprint == kept_fingerprint and 'known' or 'conflict'
end

-- Nil if the source registers items, else the refusal.
local function refuse_source(source)
  local kept = call('HGET', PREFIX .. 'cfg', 'source:' .. source)
  if not kept then
    return refuse('UNKNOWN_SOURCE', { source })
  elseif unpack_value(kept)[1] ~= 1 then
    return refuse('NOT_AUTHORITY', { source })
  end
end
