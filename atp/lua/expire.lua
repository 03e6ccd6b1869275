#!lua
--[[ expire: gives back the holds that are due, nothing more.
  KEYS[1]  {pool}:pool. Touches stk:<sku>, rsv:<id>, exp, opn, ord:<ref>, ledger of the pool
  ARGV[1]  run of the server that the call is sent to
  ARGV[2]  script time in ms for tests, else empty
  ARGV[3]  atp.model.verbs.Expire
  Returns  Result: UNKNOWN_POOL, POOL_NOT_OPEN, REAP_MORE, OK ]]
--@include pool ledger rows writable

return refuse('OK')
