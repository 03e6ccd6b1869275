"""A full snapshot in parts: what no part names is 0 in the end, whatever came first, and what is older never comes back."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atp import limits
from atp.model.verbs import Adjust, Figures, ItemLine, Register
from cli.embedded import NatsServer, StoreServer
from consumers import full_snapshot, streams
from consumers.apply import BATCHES_MAX
from tests.e2e.consuming import CONTEXT, Engine, engine, envelope, items, receipt, running, until
from tests.e2e.fleet import Fleet
from tests.e2e.market import ACK_WAIT_S

AS_OF = datetime.now(UTC)


def part(number: int, parts: int, sequence: int, units: dict[str, int], source: str = "wms") -> dict[str, Any]:
    lines = [{"sku": sku, "on_hand": quantity} for sku, quantity in units.items()]
    data = {"node": "N1", "sequence": sequence, "as_of": AS_OF, "scope": "full", "part": number, "parts": parts, "lines": lines}
    return envelope("snapshot", source, data)


async def stock(made: Engine, *skus: str) -> list[int]:
    found = await made.store.availability(made.pool, "web", ["N1"], list(skus))
    return [sum(row.on_hand for _, row in line.rows) for line in found.lines]


async def completed(made: Engine) -> None:
    async def is_complete() -> bool:
        _, found = await made.store.read_keys(made.pool, ["syn:N1 wms"])
        return set(found.get("syn:N1 wms", {})) == {b"full"}

    await until(is_complete, "the full snapshot is complete")


@pytest.mark.parametrize("seed", range(3))
def test_what_no_part_names_is_nothing_and_what_is_later_stays(seed: int, store_server: StoreServer, nats_server: NatsServer) -> None:
    async def story() -> None:
        async with running(f"full-{seed}-{store_server.kind}", store_server, nats_server) as made:
            await made.send(items(1, "A", "B", "C", "D"))
            await made.send(receipt(1, {"A": 5, "B": 6, "C": 7}))
            await made.has("C", 7)
            parts = [part(1, 3, 5, {"A": 50}), part(2, 3, 5, {}), part(3, 3, 5, {"B": 60})]
            others = [receipt(4, {"A": 1, "C": 1}), receipt(6, {"B": 2, "C": 3})]
            told = [*parts, *others, *parts[:2]]
            random.Random(seed).shuffle(told)
            for event in told:
                await made.send(event)
            await completed(made)
            await made.send(receipt(3, {"D": 9}))  # older than the count that found none of it
            await made.send(receipt(7, {"A": 1}))
            for sku, units in {"A": 51, "B": 62, "C": 3}.items():
                await made.has(sku, units)
            assert await stock(made, "A", "B", "C", "D") == [51, 62, 3, 0]
            assert await made.exceptions() == []

    asyncio.run(story())


def test_a_full_snapshot_that_nobody_asked_the_authority_for_is_compared_and_changes_nothing(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def story() -> None:
        async with running(f"full-books-{store_server.kind}", store_server, nats_server) as made:
            await made.send(items(1, "A", "B"))
            await made.send(receipt(1, {"A": 5, "B": 6}))
            await made.has("B", 6)
            await made.send(part(1, 1, 2, {"A": 4}, source="erp"))

            async def is_kept() -> bool:
                _, found = await made.store.read_keys(made.pool, ["cmp:A", "cmp:B"])
                return {name for name, fields in found.items() if b"N1 erp" in fields} == {"cmp:A", "cmp:B"}

            await until(is_kept, "what the ERP says of both, of one that it has none")
            assert await stock(made, "A", "B") == [5, 6]

    asyncio.run(story())


def test_other_events_go_on_while_full_snapshots_are_being_ended(
    store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes, and for however many nodes and sources at a time."""
    complete, gate = full_snapshot.complete, asyncio.Event()

    async def waiting(*args: Any) -> Any:
        await gate.wait()
        return await complete(*args)

    monkeypatch.setattr(full_snapshot, "complete", waiting)

    async def story() -> None:
        async with running(f"full-long-{store_server.kind}", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(part(1, 1, 1, {"A": 5}))
            await made.has("A", 5)
            for sequence in range(2, 2 + BATCHES_MAX):
                await made.send(part(1, 1, sequence, {"A": 5}, source="erp"))
                await made.send(receipt(sequence, {"A": 1}))
                await made.has("A", 4 + sequence)
            gate.set()
            await completed(made)

    asyncio.run(story())


def test_parts_that_are_missing_keep_what_is_not_named(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def story() -> None:
        async with running(f"full-missing-{store_server.kind}", store_server, nats_server) as made:
            await made.send(items(1, "A", "B"))
            await made.send(receipt(1, {"A": 5, "B": 6}))
            await made.has("B", 6)
            await made.send(part(2, 2, 2, {"A": 4}))
            await made.has("A", 4)
            assert await stock(made, "B") == [6]

    asyncio.run(story())


def test_what_was_left_out_and_has_no_place_any_more_is_told_and_the_rest_is_counted(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def story() -> None:
        async with running(f"full-late-{store_server.kind}", store_server, nats_server) as made:
            await made.send(items(1, "HOT", "B"))
            await made.send(receipt(1, {"HOT": 1, "B": 6}))
            for sequence in range(3, limits.WINDOW_DELTAS_MAX + 4):
                await made.send(receipt(sequence, {"HOT": 1}))
            await made.has("HOT", limits.WINDOW_DELTAS_MAX + 2)
            await made.send(part(1, 1, 2, {}))
            await made.has("B", 0)
            [told] = await until(made.exceptions, "a person hears of it")
            assert told.reason == "SEQUENCE_BELOW_WINDOW"
            assert "left out: HOT" in told.sentence
            assert await stock(made, "HOT") == [limits.WINDOW_DELTAS_MAX + 2], "never a guess"

    asyncio.run(story())


def test_what_a_full_snapshot_cannot_count_as_nothing_is_told_and_holds_up_no_other_event(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    def changed(sequence: int, units: int) -> dict[str, Any]:
        return envelope("adjustment", "wms", {"node": "N1", "sequence": sequence, "lines": [{"sku": "A", "on_hand": units}]})

    async def story() -> None:
        async with running(f"full-beyond-{store_server.kind}", store_server, nats_server) as made:
            most = limits.QUANTITY_MAX
            await made.send(items(1, "A", "B"))
            for sequence, units in ((5, -most), (10, most), (11, most), (12, most)):
                await made.send(changed(sequence, units))
            await made.has("A", 2 * most)
            await made.send(part(1, 1, 8, {"B": 7}))  # with 0 of A then, there would be more now than a figure holds
            await completed(made)
            (told,) = await until(lambda: made.exceptions("open"), "a person is told")
            assert (told.reason, "left out: A" in told.sentence) == ("QUANTITY_OUT_OF_RANGE", True)
            await made.send(receipt(13, {"B": 1}))
            await made.has("B", 8)

    asyncio.run(story())


def test_a_completion_whose_process_is_killed_is_ended_by_the_next(valkey: StoreServer, nats_server: NatsServer, tmp_path: Path) -> None:
    skus = [f"SKU-{number}" for number in range(10_000)]  # which take a while to be counted as 0

    async def fill(made: Engine) -> None:
        for number, names in enumerate(batched(skus, limits.ITEM_LINES_MAX), 1):
            await made.store.write(made.pool, Register(CONTEXT, f"i{number}", "erp", number, 1, [ItemLine(sku, 0) for sku in names]))
        for number, names in enumerate(batched(skus, limits.EVENT_LINES_MAX), 1):
            lines = [Figures(sku, 5, 0, 0) for sku in names]
            await made.store.write(made.pool, Adjust(CONTEXT, f"e{number}", "receipt", "wms", "N1", 1, 1, lines))

    async def story() -> None:
        async with engine("full-killed", valkey, nats_server) as made:
            await fill(made)
            durable = (await made.js.consumer_info(streams.INVENTORY, streams.feed_durable(made.pool))).config
            await made.js.add_consumer(streams.INVENTORY, durable.evolve(ack_wait=ACK_WAIT_S))
            with Fleet(tmp_path, valkey.url, nats_server.url) as fleet:
                fleet.add_consumers("feeds", 1)
                await fleet.started()
                before = (await made.store.pool_info(made.pool)).revision
                await made.send(part(1, 1, 2, {skus[0]: 7}))

                async def is_at_it() -> bool:
                    return (await made.store.pool_info(made.pool)).revision > before + 2

                await until(is_at_it, "some of what was left out is counted as 0")
                fleet["feeds-1"].kill()
                units = await stock(made, *skus)
                assert 0 < units.count(0) < len(skus) - 1, "it died in the midst of it"
                await fleet["feeds-1"].restarted()
                await completed(made)
            assert await stock(made, *skus) == [7] + [0] * (len(skus) - 1)

    asyncio.run(story())


def batched(names: list[str], size: int) -> Iterator[list[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))
