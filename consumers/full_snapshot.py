"""What a full snapshot leaves out is 0: once all its parts have come, what none of them named is counted so, under the same sequence.

It may be done by any process and as often as need be: a figure that is counted already is a duplicate.
"""

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from atp.intake import in_parts
from atp.model.status import Status
from atp.model.verbs import Complete, Count, Figures
from atp.model.window import SILENCE
from atp.store import Store

log = logging.getLogger(__name__)

_SKUS_READ: Final = 480

_COUNTED: Final = {Status.OK, Status.DUPLICATE}
_NO_PLACE: Final = {Status.SEQUENCE_BELOW_WINDOW, Status.SEQUENCE_CONFLICT, Status.QUANTITY_OUT_OF_RANGE}
_AWAY: Final = {Status.POOL_NOT_OPEN, Status.UNKNOWN_POOL}

_decode: Final = msgspec.msgpack.Decoder().decode


class IncompleteError(Exception):
    """The pool is not open for the rest of a full snapshot: it is tried again with the part that completed it."""


async def complete(store: Store, pool: str, part: Count) -> dict[Status, list[str]]:
    """Counts as 0 what the snapshot did not name, then says that it is complete.

    Answers with the SKUs, by reason, whose later events leave no place for this snapshot: for a person, who has them counted. Raises
    IncompleteError and the errors of the store.
    """
    place = await _place(store, pool, part)
    silence = msgspec.structs.replace(part, fingerprint=SILENCE, part=0, parts=0)
    without_place: dict[Status, list[str]] = {}
    counted = 0
    # Twice: what is older than the snapshot may have been applied to a SKU without a window after it was looked at the first time.
    for done in (False, True):
        async for skus in _left_out(store, pool, part, place):
            counted += len(skus)
            await _count(store, pool, silence, skus, without_place)
        ended = await store.write(pool, Complete(part.context, part.source, part.node, place, done))
        _check(Status(ended.status), ended.detail)
    log.info("pool %s: full snapshot %d of %s at %s is complete, %d SKUs left out", pool, place, part.source, part.node, counted)
    return without_place


async def _count(store: Store, pool: str, silence: Count, skus: list[str], without_place: dict[Status, list[str]]) -> None:
    """Counts these as 0, in as many steps as the bound on a ledger entry asks for."""
    lines = [Figures(sku, 0, 0, 0) for sku in skus]
    result = await store.write(pool, msgspec.structs.replace(silence, lines=lines))
    status = Status(result.status)
    if status in _NO_PLACE:
        without_place.setdefault(status, []).extend(result.detail)
        if left := [sku for sku in skus if sku not in set(result.detail)]:
            await _count(store, pool, silence, left, without_place)
    elif status == Status.TOO_MANY_ROWS and len(skus) > 1:
        for half in (skus[: len(skus) // 2], skus[len(skus) // 2 :]):
            await _count(store, pool, silence, half, without_place)
    else:
        _check(status, result.detail)


def _check(status: Status, detail: list[str]) -> None:
    """Only a pool that is not open is waited for: whatever else is refused would be refused for ever, and hold up all other events."""
    if status in _AWAY:
        raise IncompleteError(f"{status} {' '.join(detail)}")
    assert status in _COUNTED, f"the rest of a full snapshot was answered {status} {detail}"


async def _place(store: Store, pool: str, part: Count) -> int:
    """The sequence of the snapshot, as the source is provisioned: its own number, or its time."""
    _, found = await store.read_keys(pool, ["cfg"])
    config: list[Any] = _decode(found["cfg"][f"source:{part.source}".encode()])
    return part.moment if config[2] == "time" else part.sequence


async def _left_out(store: Store, pool: str, part: Count, place: int) -> AsyncIterator[list[str]]:
    """SKUs with figures of that node and source which no snapshot of this sequence or a later one has; as many as an event has lines."""
    async for skus in store.scan_skus(pool, _SKUS_READ):
        for some in in_parts(await store.left_out(pool, part.node, part.source, place, skus)):
            yield list(some)
