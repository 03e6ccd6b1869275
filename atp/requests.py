"""From what a caller says to a checked verb: every bound and form in one place, every violation named."""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from atp import limits
from atp.errors import InvalidRequestError, Violation
from atp.model.stock import TERMS
from atp.model.verbs import Confirm, Context, Extend, Fulfil, Part, Release, Repair, RepairLine, Reserve, Want

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.NAME_CHARS_MAX}}}").fullmatch
_ID = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{limits.ID_CHARS_MAX}}}").fullmatch
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch

NAME_RULE = f"must be 1 to {limits.NAME_CHARS_MAX} of A-Z a-z 0-9 _ -"
ID_RULE = f"must be 1 to {limits.ID_CHARS_MAX} printable characters without spaces"


def fingerprint(value: object) -> int:
    """32 bits of a value's canonical text, enough to tell a retry from another request under the same key."""
    return int.from_bytes(blake2b(repr(value).encode(), digest_size=4).digest(), "big")


@lru_cache(maxsize=4_096)
def _fingerprints(*parts: object) -> tuple[int, ...]:
    """Of the parts of a Reserve that recur from call to call."""
    return tuple(map(fingerprint, parts))


_is_name = lru_cache(maxsize=4_096)(lambda text: _NAME(text) is not None)


def is_name(text: str) -> bool:
    """Whether it can name a pool, node, source or channel: few do, so the answers are kept."""
    return len(text) <= limits.NAME_CHARS_MAX and _is_name(text)


def is_id(text: str) -> bool:
    """Whether it can name a SKU, a reservation, an order, or who changes them."""
    return _ID(text) is not None


def uuid7_time_ms(text: str) -> int:
    """The Unix time inside a UUIDv7 (RFC 9562 §5.7), 0 for any other id."""
    return int(text[:8] + text[9:13], 16) if _UUID7(text) else 0


class Checker:
    """Collects violations, so that a caller learns of all of them at once."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(self, field: str, description: str) -> None:
        self.violations.append(Violation(field, description))

    def name(self, field: str, value: str) -> None:
        if not is_name(value):
            self.add(field, NAME_RULE)

    def id(self, field: str, value: str) -> None:
        if not _ID(value):
            self.add(field, ID_RULE)

    def optional_id(self, field: str, value: str) -> None:
        if value:
            self.id(field, value)

    def between(self, field: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high:
            self.add(field, f"must be {low} to {high}, is {value}")

    def count(self, field: str, length: int, low: int, high: int) -> None:
        if not low <= length <= high:
            self.add(field, f"must have {low} to {high} entries, has {length}")

    def done(self) -> None:
        """Raises InvalidRequestError if anything was found."""
        if self.violations:
            raise InvalidRequestError(self.violations)


def _wants(check: Checker, lines: Sequence[tuple[str, int]]) -> list[Want]:
    """Lines with a SKU that stands twice added up, in order of first mention."""
    total: dict[str, int] = {}
    for index, (sku, quantity) in enumerate(lines):
        if not _ID(sku):
            check.add(f"lines[{index}].sku", ID_RULE)
        if not 1 <= quantity <= limits.QUANTITY_MAX:
            check.add(f"lines[{index}].quantity", f"must be 1 to {limits.QUANTITY_MAX}, is {quantity}")
        total[sku] = total.get(sku, 0) + quantity
    for sku, quantity in total.items():
        if quantity > limits.QUANTITY_MAX and not check.violations:
            check.add("lines", f"{sku} adds up to {quantity}, more than {limits.QUANTITY_MAX}")
    return [Want(sku, quantity) for sku, quantity in total.items()]


def _parts(check: Checker, lines: Sequence[tuple[int, int]]) -> list[Part]:
    check.count("lines", len(lines), 0, limits.SCRIPT_ROWS_MAX)
    if len(lines) > limits.SCRIPT_ROWS_MAX:
        return []
    seen: set[int] = set()
    for index, (number, quantity) in enumerate(lines):
        check.between(f"lines[{index}].number", number, 1, limits.SCRIPT_ROWS_MAX)
        check.between(f"lines[{index}].quantity", quantity, 0, limits.QUANTITY_MAX)
        if number in seen:
            check.add(f"lines[{index}].number", f"{number} stands twice")
        seen.add(number)
    return [Part(number, quantity) for number, quantity in lines]


def _check_nodes(check: Checker, nodes: list[str]) -> None:
    check.count("nodes", len(nodes), 0, limits.SCRIPT_ROWS_MAX)
    if len(nodes) > limits.SCRIPT_ROWS_MAX:
        return
    for index, node in enumerate(nodes):
        check.name(f"nodes[{index}]", node)
    if len(set(nodes)) < len(nodes):
        check.add("nodes", "must not name a node twice")


def reserve(
    context: Context,
    *,
    reservation_id: str,
    own_id: bool,
    channel: str,
    order_reference: str,
    ttl_ms: int,
    partial: bool,
    nodes: list[str],
    lines: list[tuple[str, int]],
) -> Reserve:
    """A checked Reserve; `own_id` tells that the service made the id. Raises InvalidRequestError."""
    check = Checker()
    if not own_id:
        check.id("reservation_id", reservation_id)
    check.name("channel", channel)
    if order_reference:
        check.id("order_reference", order_reference)
    check.between("ttl_ms", ttl_ms, limits.HOLD_TTL_MS_MIN, limits.HOLD_TTL_MS_MAX)
    check.count("lines", len(lines), 1, limits.RESERVATION_LINES_MAX)
    if nodes:
        _check_nodes(check, nodes)
    wants = _wants(check, lines) if len(lines) <= limits.RESERVATION_LINES_MAX else []
    if len(nodes) * len(wants) > limits.SCRIPT_ROWS_MAX:
        check.add("lines", f"lines × nodes must be at most {limits.SCRIPT_ROWS_MAX}, is {len(nodes) * len(wants)}")
    check.done()
    recurring = _fingerprints(channel, order_reference, ttl_ms, partial, tuple(nodes))
    wanted = tuple([(want.sku, want.quantity) for want in wants])
    # One line recurs when many want the same; longer baskets are hardly ever the same.
    prints = [*recurring, *(_fingerprints(wanted) if len(wanted) == 1 else (fingerprint(wanted),))]
    id_time_ms = 0 if own_id else uuid7_time_ms(reservation_id)
    return Reserve(context, reservation_id, id_time_ms, channel, order_reference, ttl_ms, partial, nodes, wants, prints)


def confirm(context: Context, *, reservation_id: str, key: str, reacquire: bool) -> Confirm:
    """A checked Confirm. Raises InvalidRequestError."""
    check = Checker()
    check.id("reservation_id", reservation_id)
    check.id("operation_key", key)
    check.done()
    return Confirm(context, reservation_id, key, fingerprint(reacquire), reacquire)


def release(context: Context, *, reservation_id: str, key: str, lines: list[tuple[int, int]]) -> Release:
    """A checked Release of `lines` (number, quantity; 0 for all of it), or of everything. Raises InvalidRequestError."""
    check = Checker()
    check.id("reservation_id", reservation_id)
    check.id("operation_key", key)
    parts = _parts(check, lines)
    check.done()
    return Release(context, reservation_id, key, fingerprint(sorted(lines)), parts)


def extend(context: Context, *, reservation_id: str, key: str, ttl_ms: int) -> Extend:
    """A checked Extend. Raises InvalidRequestError."""
    check = Checker()
    check.id("reservation_id", reservation_id)
    check.id("operation_key", key)
    check.between("ttl_ms", ttl_ms, limits.HOLD_TTL_MS_MIN, limits.HOLD_TTL_MS_MAX)
    check.done()
    return Extend(context, reservation_id, key, fingerprint(ttl_ms), ttl_ms)


def fulfil(context: Context, *, reservation_id: str, shipment_id: str, shipped_ms: int, lines: list[tuple[int, int]]) -> Fulfil:
    """A checked Fulfil; `shipped_ms` 0 means now. Raises InvalidRequestError."""
    check = Checker()
    check.id("reservation_id", reservation_id)
    check.id("shipment_id", shipment_id)
    check.between("ship_time", shipped_ms, 0, 2**47)
    parts = _parts(check, lines)
    check.done()
    return Fulfil(context, reservation_id, shipment_id, shipped_ms, parts)


def repair(context: Context, *, repair_id: str, reason: str, lines: Sequence[RepairLine]) -> Repair:
    """A checked Repair: it changes something, and says why. Raises InvalidRequestError."""
    check = Checker()
    check.id("repair_id", repair_id)
    if not reason.strip() or not reason.isprintable() or len(reason) > limits.TEXT_CHARS_MAX:
        check.add("reason", f"must be 1 to {limits.TEXT_CHARS_MAX} printable characters: the ledger keeps it")
    check.count("lines", len(lines), 1, limits.REPAIR_LINES_MAX)
    for index, line in enumerate(lines[: limits.REPAIR_LINES_MAX]):
        check.id(f"lines[{index}].sku", line.sku)
        check.name(f"lines[{index}].node", line.node)
        if line.term not in TERMS:
            check.add(f"lines[{index}].term", f"must be one of {', '.join(TERMS)}")
        if line.wanted == line.expected:
            check.add(f"lines[{index}].wanted", f"is {line.wanted} already: there is nothing to repair")
    if len({(line.sku, line.node, line.term) for line in lines}) < len(lines):
        check.add("lines", "must not name a term of a row twice")
    check.done()
    return Repair(context, repair_id, reason, fingerprint((reason, [msgspec.structs.astuple(line) for line in lines])), list(lines))
