"""Compares keys of a pool as two sides have them, and says in words what differs."""

from atp.audit.records import readable_row
from atp.model.stock import TERMS
from atp.replay import Key, Replay

#: How far the clock of whoever compares may be behind the store's: a key this near its expiry may be gone.
CLOCKS_APART_MS = 60_000
_NAMED_MAX = 3


def is_operational(name: str) -> bool:
    """Keys that no ledger entry makes: the stream itself, and what was heard of the sources. (Nor `run` and `pub` of `pool`.)"""
    return name in {"ledger", "fed"}


def head(replay: Replay) -> Key:
    """What the key `pool` must say, but for what is operational."""
    return {
        b"rev": str(replay.revision).encode(),
        b"epoch": str(replay.epoch).encode(),
        b"time": str(replay.time_ms).encode(),
    }


def difference(name: str, stored: Key, made: Key) -> str:
    """One sentence on two unequal keys, the store's and the ledger's."""
    if not made:
        return f"the store has it with {len(stored)} fields, the ledger does not"
    if not stored:
        return f"the ledger makes it with {len(made)} fields, the store does not have it"
    fields = sorted(field for field in stored.keys() | made.keys() if stored.get(field) != made.get(field))
    told = [_field(name, field, stored.get(field), made.get(field)) for field in fields[:_NAMED_MAX]]
    more = f"; and {len(fields) - _NAMED_MAX} more" if len(fields) > _NAMED_MAX else ""
    return "; ".join(told) + more


def _field(name: str, field: bytes, stored: bytes | None, made: bytes | None) -> str:
    said = field.decode(errors="replace")
    if made is None:
        return f"{said} is in the store, not in the ledger"
    if stored is None:
        return f"{said} is in the ledger, not in the store"
    if name.startswith("stk:") and field != b"@":
        ours, theirs = readable_row(stored), readable_row(made)
        if ours and theirs:
            terms = [term for term in (*TERMS, "revision") if getattr(ours, term) != getattr(theirs, term)]
            return f"{said}: " + ", ".join(f"{term} is {getattr(ours, term)}, by the ledger {getattr(theirs, term)}" for term in terms)
    return f"{said} is {_shown(stored)}, by the ledger {_shown(made)}"


def _shown(value: bytes) -> str:
    """A stored value for people: text as it is, anything else as bytes."""
    text = value.decode(errors="replace")
    return text if text.isprintable() and len(text) <= 40 else repr(value[:40])
