"""An audit that begins with a checkpoint stands where one from the first entry stands, and finds from there on what that one finds."""

import asyncio
import random
from typing import NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from atp.audit import Audit, Start, is_operational, records
from atp.checkpoint import SCHEMA, Manifest
from atp.ledger import Entry, decode_entry
from atp.store import Store
from cli.embedded import StoreServer
from tests.e2e.wild import Wild

SHORT_READS = {"COPY_FIELDS_MAX": 7}


class Life(NamedTuple):
    """A pool's whole ledger, and a copy of it that was made somewhere in between, while it went on."""

    entries: list[bytes]
    pieces: list[bytes]
    manifest: Manifest


def lived(server: StoreServer) -> Life:
    async def run() -> Life:
        async with Wild(server.url, random.randrange(2**32)) as pool:
            store = Store(server.url, bounds=SHORT_READS)
            await store.start()
            await pool.live(800)
            after = await pool.store.pool_info(pool.pool)
            pieces: list[bytes] = []
            names, cursor = [name for name in await store.scan_keys(pool.pool) if name != "pool" and not is_operational(name)], "0"
            while names:
                copied = await store.bulk.copy(pool.pool, names, cursor)
                pieces += copied.pieces
                names, cursor = names[copied.ended :], copied.cursor
                await pool.live(5)
            whole = (await pool.store.pool_info(pool.pool)).revision
            await pool.live(400)
            await store.close()
            manifest = Manifest(SCHEMA, pool.pool, after.revision, after.epoch, after.time_ms, whole, "", 0, 0.0, "", 0, 1, 1, 0, 0, 0, "")
            return Life(await pool.entries(), pieces, manifest)

    return asyncio.run(run())


def started(life: Life, *, comparing: bool) -> Start:
    """The copy, brought to where it is whole."""
    start = Start(life.manifest, comparing=comparing)
    for piece in life.pieces:
        start.put(piece)
    for entry in life.entries[life.manifest.after : life.manifest.whole]:
        assert not start.is_whole
        start.apply(decode_entry(entry))
    assert start.is_whole
    return start


def begun(life: Life, *, comparing: bool) -> Audit:
    """An audit behind the copy."""
    audit = Audit(comparing=comparing)
    for _ in audit.begin(started(life, comparing=comparing)):
        pass
    assert audit.report().violations == []
    assert audit.report().begun == audit.revision == life.manifest.whole
    return audit


def standing(audit: Audit) -> dict[str, object]:
    """The keys, but of a transfer what is in transit: what it has of one that was over for a while is no matter."""
    replay = audit.replay
    return {
        name: records.transit(replay, name.removeprefix("trf:")) if name.startswith("trf:") and not records.is_over(replay, name) else key
        for name, key in replay.keys.items()
    }


def followed(audit: Audit, entries: list[bytes]) -> Audit:
    for entry in entries:
        audit.follow(entry)
    return audit


@pytest.mark.parametrize("comparing", [True, False])
def test_it_stands_where_one_from_the_first_entry_stands(store_server: StoreServer, *, comparing: bool) -> None:
    life = lived(store_server)
    assert life.manifest.whole - life.manifest.after > 50
    all_of_it = followed(Audit(comparing=comparing), life.entries)
    rest = followed(begun(life, comparing=comparing), life.entries[life.manifest.whole :])
    assert rest.report().violations == all_of_it.report().violations == []
    assert standing(rest) == standing(all_of_it)
    assert rest._sums == all_of_it._sums
    assert rest._overcommitted == all_of_it._overcommitted
    late = 2**60
    assert rest.replay.expiries.due(late) == all_of_it.replay.expiries.due(late)


def test_it_finds_behind_the_checkpoint_what_one_from_the_first_entry_finds(valkey: StoreServer) -> None:
    life = lived(valkey)
    entries = life.entries[:]

    def change(at: int, entry: Entry) -> None:
        entries[at] = msgspec.msgpack.encode(entry)

    decoded = [decode_entry(entry) for entry in entries]
    admitted = next(at for at in range(life.manifest.whole, len(entries)) if decoded[at].verb == "reserve")
    change(admitted, replace(decoded[admitted], verb="adjustment"))
    expired = next((at for at in range(life.manifest.whole, len(entries)) if decoded[at].verb == "expire"), None)
    if expired is not None:
        change(expired, replace(decoded[expired], facts=[]))
    found = followed(begun(life, comparing=False), entries[life.manifest.whole :]).report().violations
    assert found == followed(Audit(comparing=False), entries).report().violations
    assert "which it must not" in found[0]


@pytest.mark.parametrize(
    ("lose", "told"),
    [
        ("exp", "the index of expiries has nothing, the reservation is HELD"),
        ("rsv:", "the reservation is gone"),
        ("unb:", "what is open adds up to"),
        ("trf:", "in_transit is"),
    ],
)
def test_what_does_not_add_up_in_the_copy_is_found_where_it_begins(valkey: StoreServer, lose: str, told: str) -> None:
    gone = None
    while gone is None:  # not every life has all of them
        start = started(lived(valkey), comparing=True)
        gone = next((name for name in start.replay.keys if name.startswith(lose) and not records.is_over(start.replay, name)), None)
    start.replay.forget(gone)
    audit = Audit()
    for _ in audit.begin(start):
        pass
    assert any(told in violation for violation in audit.report().violations)
