#!lua flags=no-writes
--[[ copy: reads whole keys for a checkpoint, as many as one short call may read, with their expiry, in pieces as load takes them.
  KEYS[1]  {pool}:pool. Reads any key of the pool
  ARGV[1]  run of the server that the call is sent to (not used: whoever copies looks at the pool before and after)
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  { cursor, name, … }: HASH and ZSET keys without the prefix; the first goes on at the cursor ('0': at its beginning)
  Returns  { { status, detail, revision, time }, { names read to their end, cursor of the next, keys, fields }, piece, … }: OK
           A piece is { { command, name, expiry in ms or 0, { word, … } }, … }: a large key comes in several, of several calls,
           and what changes meanwhile may be in any of them or in none ]]
--@include pool

local STEP = 64 -- fields of a large key at a time; a small one comes whole
local WRITTEN_BY = { hash = 'HSET', zset = 'ZADD' }
local WORD_BYTES = 5

local asked = unpack_value(ARGV[3])
local cursor = asked[1]
local answer = { refuse('OK'), 0 }
local records, piece_bytes = {}, 0
local ended, keys, fields, bytes = 0, 0, 0, 0

local function close_piece()
  if #records > 0 then
    answer[#answer + 1] = pack(records)
    records, piece_bytes = {}, 0
  end
end

local function add(command, name, expiry, pairs_read)
  local words = {}
  for i = 1, #pairs_read, 2 do
    local first, second = pairs_read[i], pairs_read[i + 1]
    if command == 'ZADD' then
      first, second = second, first
    end
    words[#words + 1] = first
    words[#words + 1] = second
    fields = fields + 1
    local more = #first + #second + 2 * WORD_BYTES
    bytes, piece_bytes = bytes + more, piece_bytes + more
    if piece_bytes >= limits.COPY_BYTES_MAX or #words >= 2 * limits.COPY_FIELDS_MAX then
      records[#records + 1] = { command, name, expiry, words }
      words = {}
      close_piece()
    end
  end
  if #words > 0 then
    records[#records + 1] = { command, name, expiry, words }
    piece_bytes = piece_bytes + #name + 4 * WORD_BYTES
  end
end

local function is_enough()
  return fields >= limits.COPY_FIELDS_MAX or bytes >= limits.COPY_BYTES_MAX
end

for i = 2, #asked do
  local name, key = asked[i], PREFIX .. asked[i]
  local kind = call('TYPE', key).ok
  local command = WRITTEN_BY[kind]
  if command then
    local expiry = math.max(0, call('PEXPIRETIME', key))
    keys = keys + (cursor == '0' and 1 or 0)
    repeat
      local page = kind == 'hash' and call('HSCAN', key, cursor, 'COUNT', STEP) or call('ZSCAN', key, cursor, 'COUNT', STEP)
      cursor = page[1]
      add(command, name, expiry, page[2])
    until cursor == '0' or is_enough()
  else
    assert(kind == 'none', name .. ' is neither HASH nor ZSET')
    cursor = '0'
  end
  if cursor ~= '0' then
    break
  end
  ended = ended + 1
  if is_enough() then
    break
  end
end
close_piece()
answer[2] = { ended, cursor, keys, fields }
return answer
