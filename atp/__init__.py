"""The domain: what can be promised, what is held, and the ledger of every change. Imports no grpc and no nats."""
