"""The NATS face: feeds into the store, the ledger out of it, and the exceptions that a person must see."""
