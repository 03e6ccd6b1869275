"""Items by their other names, in packs, and with states of their own, from the event to the stock; real servers throughout."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from atp import canonical
from atp.model.status import ExceptionReason
from atp.model.verbs import LOCATION_STATES, Provision, SourceConfig
from cli.embedded import NatsServer, StoreServer
from consumers.provision import apply_pool
from tests.e2e.consuming import CONTEXT, consuming, engine, envelope, items, pool_file, quick_store, receipt, running, until

GTIN = "4006381333931"


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


def item(sequence: int, sku: str, **details: Any) -> dict[str, Any]:
    return envelope("item_registered", "erp", {"sequence": sequence, "lines": [{"sku": sku, **details}]})


def received(sequence: int, identity: str, **line: Any) -> dict[str, Any]:
    return envelope("receipt", "wms", {"node": "N1", "sequence": sequence, "lines": [line]}, id=identity)


def test_an_event_that_names_a_gtin_and_a_case_waits_for_its_item_and_is_applied_in_eaches(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("gtin", store_server, nats_server) as made:
            await made.send(received(1, "by-gtin", alias=GTIN, unit="case", quantity=2))
            waiting = await made.exception(f"wait:wms/by-gtin/0{GTIN}")
            assert (waiting.reason, waiting.sku) == (ExceptionReason.UNKNOWN_SKU, f"0{GTIN}")
            await made.send(received(2, "by-sku", sku="PEN", unit="case", quantity=1))
            await made.exception("wait:wms/by-sku/PEN")
            await made.send(item(1, "PEN", gtins=[GTIN], aliases=["OLD-7"], packs={"case": 12}))
            await made.has("PEN", 36)
            await made.exception(f"wait:wms/by-gtin/0{GTIN}", "resolved")
            await made.exception("wait:wms/by-sku/PEN", "resolved")
            await made.send(received(3, "by-another-length", alias=f"0{GTIN}", quantity=1))
            await made.send(received(4, "by-an-older-name", alias="OLD-7", quantity=1))
            await made.has("PEN", 38)
            assert await made.exceptions("open") == []

    asyncio.run(scenario())


def test_a_name_of_two_items_and_a_pack_that_the_item_does_not_have_are_told(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("doubtful", store_server, nats_server) as made:
            await made.send(item(1, "PEN", aliases=["P"], packs={"case": 12}))
            await made.send(item(2, "PENCIL", aliases=["P"]))
            await made.send(received(1, "known", sku="PENCIL", quantity=1))
            await made.has("PENCIL", 1)
            await made.send(received(2, "whose", alias="P", quantity=5))
            told = await made.exception("event:wms/whose")
            assert (told.reason, "P (PEN, PENCIL)" in told.sentence) == (ExceptionReason.AMBIGUOUS_ALIAS, True)
            await made.send(received(3, "how-many", sku="PEN", unit="pallet", quantity=1))
            told = await made.exception("event:wms/how-many")
            assert (told.reason, "pallet of PEN" in told.sentence) == (ExceptionReason.UNKNOWN_UNIT, True)

    asyncio.run(scenario())


def test_an_event_keeps_waiting_while_the_name_it_waits_for_has_been_taken_away_again(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("taken-away", store_server, nats_server) as made:
            named, unnamed = item(1, "PEN", aliases=["P"]), item(2, "PEN")
            key = "wms/early/P"
            async with consuming("feeds", made, store_server, nats_server):
                await made.send(received(1, "early", alias="P", quantity=5))
                await until(lambda: made.waiting("P"), "the event waits")
            for event in (named, unnamed):  # by a consumer that failed before it looked who waits
                request = canonical.request_of(canonical.read(msgspec.json.encode(event)))
                assert request is not None
                assert (await made.store.write(made.pool, request)).status == "OK"
            async with consuming("feeds", made, store_server, nats_server):
                await made.send(named)

                async def had_its_turn() -> bool:
                    return made.settled("duplicate") == 2  # the registration, and the event that it woke

                await until(had_its_turn, "the registration is known, and has woken the event")
                assert await made.waiting("P") == [key]
                await made.send(item(3, "PEN", aliases=["P"]))
                await made.has("PEN", 5)
                await until(lambda: _is_empty(made, "P"), "the event waits no more")

    asyncio.run(scenario())


async def _is_empty(made: Any, name: str) -> bool:
    return not await made.waiting(name)


def test_what_a_feed_says_of_locations_stands_beside_what_is_provisioned(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("locations", store_server, nats_server) as made:
            wanted = pool_file(made.pool)
            registers = Provision(CONTEXT, [], [], [SourceConfig("mdm", registers_items=False, registers_locations=True)])
            assert (await made.store.write(made.pool, registers)).status == "OK"
            for number, node in enumerate(("N1", "N9"), 1):
                data = {"node": node, "sequence": number, "kind": "kiosk", "time_zone": "Europe/Rome"}
                await made.send(envelope("location_registered", "mdm", data))
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 5}))
            await made.has("A", 5)
            close = {"node": "N1", "sequence": 3, "state": "closed", "reason": "stocktaking"}
            await made.send(envelope("location_state_changed", "mdm", close))

            async def is_shut() -> bool:
                return (await made.store.explain(made.pool, "A", "N1")).node_state == LOCATION_STATES.index("closed")

            await until(is_shut, "the location is closed")
            assert (await made.reserve("R1", "A", 1)).status == "INSUFFICIENT_STOCK"
            told = {(item.kind, item.name): item.outcome for item in await apply_pool(made.store, wanted)}
            assert (told["node", "N1"], told["node", "N9"], told["node", "N2"]) == ("changed", "kept", "unchanged")
            assert {kind for kind, _ in told} == {"node", "channel", "source"}
            assert await is_shut(), "the file says nothing of a state"

    asyncio.run(scenario())


def test_a_state_that_overtook_its_item_waits_for_it(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("blocked", store_server, nats_server) as made:
            block = {"sequence": 2, "lines": [{"sku": "A", "state": "blocked"}]}
            await made.send(envelope("item_state_changed", "erp", block, id="recall"))
            await made.exception("wait:erp/recall/A")
            await made.send(items(1, "A"))
            await made.exception("wait:erp/recall/A", "resolved")
            await made.send(receipt(1, {"A": 5}))
            await made.has("A", 5)
            assert (await made.reserve("R1", "A", 1)).status == "INSUFFICIENT_STOCK"
            free = {"sequence": 3, "lines": [{"sku": "A", "state": "active"}]}
            await made.send(envelope("item_state_changed", "erp", free))

            async def held() -> bool:
                return (await made.reserve("R1", "A", 1)).status == "OK"

            await until(held, "the item is sold again")

    asyncio.run(scenario())


@pytest.mark.parametrize("line", [{"alias": "SOLD-ELSEWHERE"}, {"sku": "NOBODYS", "unit": "case"}], ids=["alias", "pack"])
def test_an_event_of_nobodys_source_never_waits_whatever_it_names(
    line: dict[str, Any], store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running(f"nobodys-{'-'.join(line)}", store_server, nats_server) as made:
            data = {"node": "N1", "sequence": 1, "lines": [{**line, "quantity": 1}]}
            await made.send(envelope("receipt", "nobody", data, id="stray"))
            assert (await made.exception("event:nobody/stray")).reason == ExceptionReason.UNKNOWN_SOURCE
            assert [name for name in await made.store.scan_keys(made.pool) if name.startswith("wait:")] == []
            assert made.metric("atp_feed_events_total", source="nobody") == 0, "nor do the metrics take its name"

    asyncio.run(scenario())
