"""`atp trace` over real servers: a small story of one order, followed from each of its ids, among others that are none of it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from atp import requests
from atp.model.verbs import Context, NodeConfig, Provision
from atp.store.store import Write
from cli.embedded import NatsServer, StoreServer
from consumers import ending, exceptions
from tests.e2e import commands
from tests.e2e.commands import Ran
from tests.e2e.consuming import Engine, envelope, items, quick_store, receipt, running, until

CHECKOUT = Context("checkout", "talk-1")
STRANGER = Context("checkout", "talk-9")


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


def shipment(event_id: str, sequence: int, shipment_id: str, reservation_id: str, quantity: int) -> dict[str, Any]:
    lines = [{"sku": "TEA", "quantity": quantity}]
    data = {"node": "N1", "sequence": sequence, "shipment_id": shipment_id, "reservation_id": reservation_id, "lines": lines}
    return envelope("shipment", "wms", data, id=event_id)


async def do(made: Engine, request: Write) -> None:
    result = await made.store.write(made.pool, request)
    assert result.status == "OK", result


def hold(context: Context, reservation_id: str, order: str) -> Write:
    return requests.reserve(
        context,
        reservation_id=reservation_id,
        own_id=False,
        channel="web",
        order_reference=order,
        ttl_ms=600_000,
        partial=False,
        nodes=["N1"],
        lines=[("TEA", 2)],
    )


async def tell_the_story(made: Engine) -> None:
    """An order is placed, confirmed and shipped; its shipment comes once more, and then with other units. Another order is none of it."""
    await made.send(items(1, "TEA"))
    await made.send(receipt(1, {"TEA": 120}, id="grn-88121"))
    await made.has("TEA", 120)
    await do(made, hold(CHECKOUT, "R-1", "O-4711"))
    await do(made, hold(STRANGER, "R-9", "O-9"))
    await do(made, requests.confirm(CHECKOUT, reservation_id="R-1", key="pay-1", reacquire=False))
    sent = shipment("dispatch-1", 2, "SHIP-1", "R-1", 2)
    await made.send(sent)
    await made.has("TEA", 118)
    await made.send(sent)
    await made.send(shipment("dispatch-2", 3, "SHIP-1", "R-1", 1))
    await made.exception("event:wms/dispatch-2")
    await made.relayed()


@pytest.fixture(scope="module")
def story(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("story", store_server, nats_server) as made:
            await tell_the_story(made)

    asyncio.run(scenario())


@pytest.fixture
def trace(story: None, store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words: str) -> Ran:
        return commands.run("trace", *words, "--pool", "story", "--store-url", store_server.url, "--nats-url", nats_server.url)

    return run


def sentences(ran: Ran, *, without_times: bool = True) -> list[tuple[str, str]]:
    """Where and what, times left out."""
    rows = ran.json["rows"]
    return [(row["where"], row["sentence"].split(" until ")[0] if without_times else row["sentence"]) for row in rows]


WHOLE_STORY = [
    ("ledger", "held 2 × TEA at N1"),
    ("answer", "answered reserve: HELD"),
    ("ledger", "confirmed 2 × TEA at N1"),
    ("answer", "answered confirm (key pay-1): CONFIRMED"),
    ("event", "shipment dispatch-1 of wms: 2 × TEA at N1 as SHIP-1 for R-1. Applied: revision 8."),
    ("ledger", "shipment SHIP-1 of wms: -2 TEA at N1, -2 TEA at N1 allocated"),
    (
        "event",
        "shipment dispatch-1 of wms: 2 × TEA at N1 as SHIP-1 for R-1. Nothing new in it: it was known, or a later count contains it.",
    ),
    ("event", "shipment dispatch-2 of wms: 1 × TEA at N1 as SHIP-1 for R-1. Not applied: exception SHIPMENT_CONFLICT."),
    (
        "exception",
        "exception SHIPMENT_CONFLICT open: Event dispatch-2 of wms was not applied: its shipment is known already with another lines.",
    ),
    ("now", "reservation R-1 for order O-4711 is FULFILLED: nothing open"),
]


@pytest.mark.parametrize(
    "asked", ["O-4711", "R-1", "SHIP-1", "dispatch-1", "wms/dispatch-1", "dispatch-2", "talk-1", "event:wms/dispatch-2"]
)
def test_the_whole_story_is_told_from_each_of_its_ids(trace: Any, asked: str) -> None:
    ran = trace(asked, "--json")
    assert ran.code == 0
    assert sentences(ran) == WHOLE_STORY


def test_a_receipt_is_no_part_of_what_was_sold_from_it(trace: Any) -> None:
    ran = trace("grn-88121", "--json")
    assert sentences(ran) == [
        ("event", "receipt grn-88121 of wms: 120 × TEA at N1. Applied: revision 4."),
        ("ledger", "receipt grn-88121 of wms: +120 TEA at N1"),
    ]
    assert ran.json["rows"][1]["who"] == "wms"


ODD_EVENTS = {
    "grn-early": [
        ("event", "receipt grn-early of wms: 5 × TEA at N1. Applied: revision 5."),
        ("ledger", "event grn-early of wms waits: TEA is not registered; exception UNKNOWN_SKU open"),
        ("exception", "exception UNKNOWN_SKU open"),
        ("ledger", "receipt grn-early of wms: +5 TEA at N1"),
        ("ledger", "event grn-early of wms waits no longer; exception UNKNOWN_SKU resolved"),
        ("exception", "exception UNKNOWN_SKU resolved"),
    ],
    "grn-lost": [
        ("event", "receipt grn-lost of wms: 7 × TEA at N9. Not applied: exception UNKNOWN_NODE."),
        ("exception", "exception UNKNOWN_NODE open"),
        ("exception", "exception UNKNOWN_NODE retried"),
        ("event", "receipt grn-lost of wms: 7 × TEA at N9. Applied: revision 8."),
        ("ledger", "receipt grn-lost of wms: +7 TEA at N9"),
    ],
    "grn-other": [
        ("event", "receipt grn-other of tills: 2 × TEA at N1. Applied: revision 9."),
        ("ledger", "receipt grn-other of tills: kept for comparison: tills is not whose word counts there"),
    ],
    "grn-bad": [
        ("event", "a message of 18 bytes that cannot be read. Not applied: exception MALFORMED."),
        ("exception", "exception MALFORMED open"),
    ],
    "grn-never": [
        ("event", "receipt grn-never of wms: 1 × GONE at N1. It waits for GONE to be registered."),
        ("ledger", "event grn-never of wms waits: GONE is not registered; exception UNKNOWN_SKU open"),
        ("exception", "exception UNKNOWN_SKU open"),
    ],
}


@pytest.fixture(scope="module")
def odd_events(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("odd", store_server, nats_server) as made:
            await made.send(receipt(1, {"TEA": 5}, id="grn-early"))
            await made.exception("wait:wms/grn-early/TEA")
            await made.send(items(1, "TEA"))
            await made.exception("wait:wms/grn-early/TEA", "resolved")
            await made.send(receipt(2, {"TEA": 7}, node="N9", id="grn-lost"))
            await made.exception("event:wms/grn-lost")
            await do(made, Provision(CHECKOUT, [NodeConfig("N9", "store", "Europe/Paris", "wms")], [], []))
            lost = await exceptions.standing(made.js, made.pool, "event:wms/grn-lost")
            assert lost is not None
            await ending.retry(made.js, lost, ending.Who("jane", "N9 is provisioned now"))
            await made.has("TEA", 7, "N9")
            await made.send(receipt(1, {"TEA": 2}, id="grn-other", source="tills"))
            await made.send(b'{"id": "grn-bad"} ')
            await made.send(receipt(3, {"GONE": 1}, id="grn-never"))
            await made.exception("wait:wms/grn-never/GONE")
            await made.relayed()

    asyncio.run(scenario())


@pytest.mark.parametrize("asked", ODD_EVENTS)
def test_an_event_that_was_not_applied_at_once_tells_what_became_of_it(
    odd_events: None, store_server: StoreServer, nats_server: NatsServer, asked: str
) -> None:
    ran = commands.run("trace", asked, "--json", "--pool", "odd", "--store-url", store_server.url, "--nats-url", nats_server.url)
    told = [(where, said.split(":")[0] if where == "exception" else said) for where, said in sentences(ran)]
    assert sorted(told) == sorted(ODD_EVENTS[asked]), "the clocks of store and NATS need not agree"


MOVED = {
    "T-1": [
        ("event", "transfer out out-1 of wms: 5 × TEA at N1 to N2 as T-1. Applied: revision 5."),
        ("ledger", "transfer out T-1 of wms: -5 TEA at N1, +5 TEA at N2 in transit"),
        ("event", "transfer in in-1 of tills: 5 × TEA at N2 from N1 as T-1. Applied: revision 6."),
        ("ledger", "transfer in T-1 of tills: +5 TEA at N2, -5 TEA at N2 in transit"),
    ],
    "O-5": [
        ("ledger", "held 2 × TEA at N1"),
        ("answer", "answered reserve: HELD"),
        ("ledger", "confirmed 2 × TEA at N1"),
        ("answer", "answered confirm (key pay-5): CONFIRMED"),
        ("event", "pick pick-5 of wms: 2 × TEA at N1 for O-5. Applied: revision 9."),
        ("ledger", "pick O-5 of wms: no figure changed"),
        ("event", "pack pack-5 of wms: 2 × TEA at N1 in P-5 for O-5. Applied: revision 10."),
        ("ledger", "pack O-5 of wms: no figure changed"),
        ("event", "cancellation cancel-5 of erp: all that is open for O-5. Applied: revision 11."),
        ("ledger", "cancelled, back in stock: 2 × TEA at N1"),
        ("event", "cancellation cancel-5 of erp: all that is open for O-5. Nothing new in it: it was known, or a later count contains it."),
        ("now", "reservation R-5 for order O-5 is RELEASED: nothing open"),
    ],
}


@pytest.fixture(scope="module")
def moved(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("moved", store_server, nats_server) as made:
            tea = [{"sku": "TEA", "quantity": 5}]
            await made.send(items(1, "TEA"))
            await made.send(receipt(1, {"TEA": 9}))
            await made.has("TEA", 9)
            out = {"node": "N1", "sequence": 2, "transfer_id": "T-1", "to_node": "N2", "lines": tea}
            await made.send(envelope("transfer_out", "wms", out, id="out-1"))
            await made.has("TEA", 4)
            into = {"node": "N2", "sequence": 1, "transfer_id": "T-1", "from_node": "N1", "lines": tea}
            await made.send(envelope("transfer_in", "tills", into, id="in-1"))
            await made.has("TEA", 5, "N2")
            await do(made, hold(CHECKOUT, "R-5", "O-5"))
            await do(made, requests.confirm(CHECKOUT, reservation_id="R-5", key="pay-5", reacquire=False))
            for sequence, kind, more in ((3, "pick", {}), (4, "pack", {"package_id": "P-5"})):
                lines = [{"sku": "TEA", "quantity": 2}]
                data = {"node": "N1", "sequence": sequence, "order_reference": "O-5", "lines": lines, **more}
                await made.send(envelope(kind, "wms", data, id=f"{kind}-5"))
                await applied(made, sequence + 2)
            cancelled = envelope("order_cancelled", "erp", {"sequence": 2, "order_reference": "O-5"}, id="cancel-5")
            await made.send(cancelled)
            await applied(made, 7)
            await made.send(cancelled)
            await until(lambda: known(made), "the second is known")
            await made.relayed()

    asyncio.run(scenario())


async def applied(made: Engine, count: int) -> None:
    async def true() -> bool:
        return made.settled("applied") == count

    await until(true, f"{count} are applied")


async def known(made: Engine) -> bool:
    return made.settled("duplicate") == 1


@pytest.mark.parametrize("asked", MOVED)
def test_what_moves_units_within_the_house_is_followed_too(
    moved: None, store_server: StoreServer, nats_server: NatsServer, asked: str
) -> None:
    ran = commands.run("trace", asked, "--json", "--pool", "moved", "--store-url", store_server.url, "--nats-url", nats_server.url)
    assert sentences(ran) == MOVED[asked]


def test_a_person_reads_one_table_and_what_was_not_searched(trace: Any) -> None:
    ran = trace("O-4711")
    assert "time where what who revision or sequence sentence" in ran.words
    assert "ledger reserve checkout 5 held 2 × TEA at N1 until " in ran.words
    assert "event shipment wms 3 shipment dispatch-1 of wms: 2 × TEA at N1 as SHIP-1 for R-1. Applied: revision 8." in ran.words
    assert "It led to reservation R-1, shipment SHIP-1, event dispatch-1, event dispatch-2." in ran.words
    assert "Not searched: what is older (--all); answers that refused" in ran.words
    assert "what is older" not in trace("O-4711", "--all").said


def test_what_is_outside_the_span_is_not_told_and_nothing_found_says_what_to_do(trace: Any) -> None:
    ran = trace("grn-88121", "--since", "1ms")
    assert ran.code == 1
    assert "names grn-88121: correct the id, or look further back (--since 7d, --all)." in ran.words
    assert trace("nobody").code == 1
    assert trace("R-1", "--since", "soon").code == 2


def test_without_the_store_the_streams_are_told_and_that_it_is_missing(
    story: None, nats_server: NatsServer, store_server: StoreServer, trace: Any
) -> None:
    away = commands.run("trace", "O-4711", "--json", "--pool", "story", "--store-url", "redis://127.0.0.1:1", "--nats-url", nats_server.url)
    assert sentences(away) == [told for told in WHOLE_STORY if told[0] not in {"answer", "now"}]
    assert away.json["not_searched"][1].startswith("the store, which is away")


def test_an_unknown_pool_is_named(trace: Any, nats_server: NatsServer, store_server: StoreServer) -> None:
    ran = commands.run("trace", "R-1", "--pool", "nowhere", "--store-url", store_server.url, "--nats-url", nats_server.url)
    assert ran.code == 1
    assert "nowhere" in ran.error
