"""The gRPC face of the engine: translates a call, makes one domain call, and translates the answer back."""
