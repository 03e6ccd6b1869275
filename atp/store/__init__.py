"""The store: the only code that talks to Redis. `Store` runs the verbs; its calls share one pipelined connection."""

from atp.store.link import ScriptError
from atp.store.settings import StoreSettings
from atp.store.store import Store
from atp.store.stores import Stores

__all__ = ["ScriptError", "Store", "StoreSettings", "Stores"]
