"""The store: the only code that talks to Redis. `Store` runs the verbs; its calls share one pipelined connection."""

from atp.store.link import ScriptError
from atp.store.store import Store

__all__ = ["ScriptError", "Store"]
