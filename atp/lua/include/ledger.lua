-- ledger: every change of the store goes through `write` and ends in `append`, so that change and record are one.
local images, facts, raised = {}, {}, {}

-- Runs one command on a key of the pool and keeps it as an after-image.
local function write(command, key, ...)
  call(command, PREFIX .. key, ...)
  images[#images + 1] = { command, key, ... }
end

-- Says that a key is made anew. One of the same name may have vanished by its retention; where the ledger is replayed it is still there.
local function begin(key)
  images[#images + 1] = { 'DEL', key }
end

local function raise(id, reason, state, sku, node, cause, quantity)
  raised[#raised + 1] = { id, reason, state, sku, node, cause, quantity }
end

-- Writes one entry with all that was written and raised since the last; `context` is { actor, correlation }.
local function append(verb, cause, context)
  revision = revision + 1
  local id = string.format('%d-0', revision)
  local entry = pack({ 1, revision, epoch, now, verb, cause, context[1], context[2], facts, images, raised })
  if #raised > 0 then
    call('XADD', PREFIX .. 'ledger', id, 'e', entry, 'x', pack(raised))
  else
    call('XADD', PREFIX .. 'ledger', id, 'e', entry)
  end
  call('HSET', KEYS[1], 'rev', revision, 'time', now)
  images, facts, raised = {}, {}, {}
end
