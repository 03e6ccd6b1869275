"""What a person does about exceptions: has messages tried again, discards them, and is told why not."""

import asyncio
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from atp import canonical, limits
from atp.exceptions import PublishedException
from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from atp.model.verbs import Adjust, NodeConfig, Provision, Result, Unpark
from atp.store import Stores
from atp.store.store import Write
from cli.embedded import NatsServer, StoreServer
from consumers import ending, exceptions
from consumers.ending import NotEndedError, Who
from consumers.feeds import FeedSettings
from consumers.incoming import Incoming
from consumers.intake import JetStreamIntake
from consumers.metrics import FeedMetrics
from consumers.settle import Message, StoreSettler
from tests.e2e import commands
from tests.e2e.commands import Ran
from tests.e2e.consuming import (
    CONTEXT,
    Engine,
    consuming,
    engine,
    envelope,
    items,
    ledger_of,
    quick_store,
    receipt,
    running,
    stock,
    until,
)

JANE = Who("jane", "the new store is provisioned now")


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


async def atp(made: Engine, store_server: StoreServer, nats_server: NatsServer, *words: str) -> Ran:
    """A command of a person, while the consumers go on."""
    servers = ["--nats-url", nats_server.url]
    if words[1] == "discard":
        servers += ["--store-url", store_server.url]
    return await asyncio.to_thread(commands.run, *words, "--pool", made.pool, *servers)


async def provision_node(made: Engine, node: str) -> None:
    config = NodeConfig(node, "store", "Europe/Paris", "wms")
    assert (await made.store.write(made.pool, Provision(CONTEXT, [config], [], []))).status == "OK"


async def retry(made: Engine, exception_id: str) -> PublishedException:
    found = await exceptions.standing(made.js, made.pool, exception_id)
    assert found is not None
    return await ending.retry(made.js, found, JANE)


async def discard(made: Engine, exception_id: str) -> PublishedException:
    found = await exceptions.standing(made.js, made.pool, exception_id)
    assert found is not None
    return await ending.discard(made.js, made.store, found, JANE)


# --- retry --------------------------------------------------------------------------------------------------------
def test_an_event_that_lacked_its_node_is_tried_again_once_that_is_provisioned(
    store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    async def scenario() -> None:
        async with running("lacked", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 5}, node="N9", id="astray", correlation="talk"))
            assert (await made.exception("event:wms/astray")).subject == "inv.lacked.wms.receipt"
            await provision_node(made, "N9")
            ran = await atp(
                made, store_server, nats_server, "exceptions", "retry", "event:wms/astray", "--reason", JANE.why, "--actor", "jane"
            )
            assert ran == (0, "event:wms/astray: sent again\nWhat fails again is open anew: atp exceptions list\n", "")
            await made.has("A", 5, "N9")
            over = await made.exception("event:wms/astray", "resolved")
            assert (over.resolution, over.actor, over.resolution_reason, over.correlation) == ("retried", *JANE, "talk")
            shown = await atp(made, store_server, nats_server, "exceptions", "show", "event:wms/astray")
            assert shown.said.startswith("UNKNOWN_NODE event:wms/astray: retried by jane since ")
            assert "correlation talk" in shown.words
            assert f"ended retried by jane why {JANE.why}" in shown.words
            listed = await atp(made, store_server, nats_server, "exceptions", "list", "--state", "all")
            assert f"retried by jane event:wms/astray UNKNOWN_NODE: Sent again by jane: {JANE.why}. (correlation talk)" in listed.words
            again = await atp(made, store_server, nats_server, "exceptions", "retry", "event:wms/astray", "--reason", "x")
            assert (again.code, again.said) == (
                1,
                "event:wms/astray: not sent again: it is over already: nothing is left to be tried again\n",
            )

    asyncio.run(scenario())


def test_what_its_source_sends_again_once_the_cause_is_mended_is_applied_at_once(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("mended", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            intake, event = (
                JetStreamIntake(made.connection),
                canonical.read(msgspec.json.encode(receipt(1, {"A": 5}, node="N9", id="astray"))),
            )
            await intake.take(made.pool, event)
            await made.exception("event:wms/astray")
            await provision_node(made, "N9")
            await intake.take(made.pool, event)
            await made.has("A", 5, "N9")

    asyncio.run(scenario())


BROKEN = {
    "an event": (receipt(1, {"A": 5}, node="N9", id="astray"), "event:wms/astray", ExceptionReason.UNKNOWN_NODE),
    "no event at all": (b"<xml/>", "", ExceptionReason.MALFORMED),
    "no text": (b"\xff\xfe", "", ExceptionReason.MALFORMED),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_fails_again_is_the_same_exception_open_anew_each_time(store_server: StoreServer, nats_server: NatsServer, what: str) -> None:
    sent, named, reason = BROKEN[what]

    async def scenario() -> None:
        async with running(f"anew-{len(what)}", store_server, nats_server) as made:
            await made.send(sent)
            (told,) = await until(lambda: made.exceptions("open"), "it is told")
            assert told.reason == reason
            assert not named or told.id == named
            for tries in (2, 3):
                await retry(made, told.id)

                async def judged_again(expected: int = tries) -> bool:
                    return made.settled(reason) == expected

                await until(judged_again, "the feed has judged it again")
                anew = await made.exception(told.id)
                assert (anew.original, anew.resolution, anew.actor) == (told.original, "", "")
            assert [one.id for one in await made.exceptions()] == [told.id]

    asyncio.run(scenario())


def test_a_verdict_that_came_first_is_not_hidden_by_the_resolution(store_server: StoreServer, nats_server: NatsServer) -> None:
    """Between the message that is sent again and the word that it was, the feed may have found it wrong once more."""

    async def scenario() -> None:
        async with running("quick", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5}, node="N9", id="astray"))
            await made.exception("event:wms/astray")
            known = await exceptions.standing(made.js, made.pool, "event:wms/astray")
            assert known is not None
            await exceptions.publish(made.js, known.exception, "as the feed does")
            stands = await ending.retry(made.js, known, JANE)
            assert (stands.state, stands.resolution) == ("open", "")
            assert (await made.exception("event:wms/astray")).state == "open"

    asyncio.run(scenario())


def test_a_message_goes_where_it_belongs_but_never_under_another_sources_name(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("astray", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 5}, id="wrong-type"), f"inv.{made.pool}.wms.return")
            await made.send(receipt(2, {"A": 7}, id="forged"), f"inv.{made.pool}.tills.receipt")
            await made.exception("event:wms/wrong-type")
            await made.exception("event:wms/forged")
            await retry(made, "event:wms/wrong-type")
            await made.has("A", 5)
            with pytest.raises(
                NotEndedError, match=r"it came in as a message of tills and says that it is of wms: have wms send it on inv\."
            ):
                await retry(made, "event:wms/forged")
            assert (await made.exception("event:wms/forged")).reason == ExceptionReason.WRONG_SUBJECT

    asyncio.run(scenario())


def test_a_message_that_came_through_a_feed_is_not_tried_again_under_another_sources_name(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("borrowed", store_server, nats_server) as made:
            feed = FeedSettings(name="shop", adapter="shopify", pool=made.pool, source="tills", nodes={})
            forged = msgspec.json.encode(receipt(1, {"A": 5}, id="forged"))  # no format of a shop: an event, as if the WMS had sent it
            await Incoming(JetStreamIntake(made.connection), made.js).take(feed, "a webhook", BytesIO(forged), asyncio.Event())
            (exception,) = await made.exceptions("open")
            with pytest.raises(NotEndedError, match=r"it came in as a message of tills and says that it is of wms"):
                await retry(made, exception.id)

    asyncio.run(scenario())


def test_what_cannot_be_tried_again_says_what_to_do_instead(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("cannot", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5}, id="large", comment="x" * limits.EVENT_BYTES_MAX))
            await made.send(receipt(2, {"A": 5}, id="early"))
            await made.exception("wait:wms/early/A")
            large = await until(lambda: large_one(made), "the large one is told")
            with pytest.raises(NotEndedError, match=r"only the first 262,144 are kept: have the source send it again in parts"):
                await retry(made, large.id)
            with pytest.raises(NotEndedError, match="its event waits, and is applied by itself once A is registered"):
                await retry(made, "wait:wms/early/A")
            await made.send(items(1, "A"))
            await made.has("A", 5)
            shipment = {"node": "N1", "sequence": 3, "shipment_id": "S1", "lines": [{"sku": "A", "quantity": 1}]}
            await made.send(envelope("shipment", "wms", shipment))
            await made.exception("ship:S1")
            with pytest.raises(NotEndedError, match="no message belongs to it"):
                await retry(made, "ship:S1")
            nowhere = receipt(9, {"A": 1}, id="nowhere")
            await made.send(nowhere, "inv.no!where.wms.receipt")
            made.pool = "_"
            await made.exception("event:wms/nowhere")
            with pytest.raises(NotEndedError, match="its subject names no pool"):
                await retry(made, "event:wms/nowhere")

    asyncio.run(scenario())


async def large_one(made: Engine) -> PublishedException | None:
    return next((one for one in await made.exceptions("open") if one.reason == ExceptionReason.TOO_LARGE), None)


# --- discard ------------------------------------------------------------------------------------------------------
def test_a_parked_event_that_is_discarded_waits_no_longer_and_the_ledger_says_who_did_it(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("unparked", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5}, id="early", correlation="talk"))
            await made.exception("wait:wms/early/A")
            words = ("exceptions", "discard", "wait:wms/early/A", "--reason", "never ours", "--actor", "jane")
            assert (await atp(made, store_server, nats_server, *words)).said == "wait:wms/early/A: discarded\n"
            assert await made.waiting("A") == []
            await made.relayed()
            last = decode_entry((await ledger_of(made))[-1])
            assert (last.verb, last.cause, last.actor, last.correlation) == ("unpark", "wms/early/A", "jane", "talk")
            over = await made.exception("wait:wms/early/A", "resolved")
            assert (over.resolution, over.actor, over.resolution_reason) == ("discarded", "jane", "never ours")
            await made.send(items(1, "A"))
            await made.send(receipt(2, {"A": 1}))
            await made.has("A", 1)
            await retry(made, "wait:wms/early/A")  # it was a mistake
            await made.has("A", 6)

    asyncio.run(scenario())


@pytest.mark.parametrize("first", ["the relay", "the person"])
def test_whoever_tells_of_a_discarded_event_first_the_reason_stays(store_server: StoreServer, nats_server: NatsServer, first: str) -> None:
    async def scenario() -> None:
        async with engine(f"first-{first[4:7]}", store_server, nats_server) as made:
            async with consuming("feeds", made, store_server, nats_server):
                await made.send(receipt(1, {"A": 5}, id="early"))

                async def parked() -> bool:
                    return made.settled("parked") == 1

                await until(parked, "it waits")
            async with consuming("relay", made, store_server, nats_server):
                await made.exception("wait:wms/early/A")
                if first == "the relay":
                    await relay_first(made)
                else:
                    await discard(made, "wait:wms/early/A")
                await made.relayed()
            over = await made.exception("wait:wms/early/A", "resolved")
            assert (over.resolution, over.actor, over.resolution_reason) == ("discarded", *JANE)

    asyncio.run(scenario())


async def relay_first(made: Engine) -> None:
    """The person is held up between taking the event out and telling why."""
    sound = made.store.write

    async def slow(*words: object) -> object:
        result = await sound(*words)
        await made.exception("wait:wms/early/A", "resolved")
        return result

    made.store.write = slow  # type: ignore[method-assign, assignment]  # of this one store
    await discard(made, "wait:wms/early/A")


@pytest.mark.parametrize("step", [Adjust, Unpark], ids=["not applied yet", "applied already"])
def test_an_event_that_is_having_its_turn_is_not_said_to_be_discarded(
    store_server: StoreServer, nats_server: NatsServer, step: type
) -> None:
    async def scenario() -> None:
        async with engine(f"turn-{step.__name__}", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            settler = StoreSettler(made.js, Stores(made.store), FeedMetrics(CollectorRegistry()))
            await settler.settle(message(made, receipt(1, {"A": 5}, id="early")))
            await made.exception("wait:wms/early/A")
            sound = made.store.write
            said: list[str] = []

            async def a_person_comes_between(pool: str, request: Write) -> Result:
                if isinstance(request, step) and not said:
                    said.append("")
                    said[0] = await asked_to_discard(made, "wait:wms/early/A")
                return await sound(pool, request)

            made.store.write = a_person_comes_between  # type: ignore[method-assign, assignment]  # of this one store
            await settler.settle(message(made, items(1, "A")))
            assert (said, (await made.row("A")).on_hand, await made.waiting("A")) == (
                ["A is registered now, so its event is having its turn"],
                5,
                [],
            )
            assert (await made.exception("wait:wms/early/A", "resolved")).resolution == ""

    asyncio.run(scenario())


def message(made: Engine, event: dict[str, Any]) -> Message:
    return Message(event["id"], f"inv.{made.pool}.{event['source']}.{event['type']}", msgspec.json.encode(event), 0.0)


async def asked_to_discard(made: Engine, exception_id: str) -> str:
    """What the person is told, up to the colon."""
    try:
        return (await discard(made, exception_id)).resolution
    except NotEndedError as error:
        return str(error).partition(":")[0]


def test_what_ends_by_itself_is_not_discarded(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("lasting", store_server, nats_server) as made:
            await stock(made, 5)
            assert (await made.reserve("R1", "A", 4)).status == "OK"
            broken = {"node": "N1", "sequence": 2, "lines": [{"sku": "A", "on_hand": -3}]}
            await made.send(envelope("adjustment", "wms", broken))
            await made.exception("over:N1:A")
            with pytest.raises(NotEndedError, match="it ends by itself once stock covers what is promised"):
                await discard(made, "over:N1:A")
            assert (await made.exception("over:N1:A")).state == "open"

    asyncio.run(scenario())


# --- many at once -------------------------------------------------------------------------------------------------
def test_all_open_ones_of_a_reason_are_tried_again_once_their_number_was_seen(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("many", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            for number in range(1, 6):
                await made.send(receipt(number, {"A": 1}, node="N9"))
            await made.send(b"<xml/>")

            async def all_told() -> bool:
                return len(await made.exceptions("open")) == 6

            await until(all_told, "six exceptions")
            words = ("exceptions", "retry", "--where", "UNKNOWN_NODE", "--reason", JANE.why)
            asked = await atp(made, store_server, nats_server, *words)
            assert (asked.code, asked.said.strip()) == (1, "")
            assert "5 open exceptions UNKNOWN_NODE in pool many: retry all?" in asked.error
            await provision_node(made, "N9")
            done = await atp(made, store_server, nats_server, *words, "--yes", "--json")
            assert [(one["done"], one["said"]) for one in done.json] == [(True, "sent again")] * 5
            await made.has("A", 5, "N9")
            (left,) = await made.exceptions("open")
            assert left.reason == ExceptionReason.MALFORMED
            rest = await atp(made, store_server, nats_server, "exceptions", "discard", left.id, "--reason", "a test of theirs")
            assert (rest.code, await made.exceptions("open")) == (0, [])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("retry", "--reason", "x"), "say which exception"),
        (("retry", "an-id", "--where", "MALFORMED", "--reason", "x"), "say which exception"),
        (("retry", "--where", "SOLD_OUT", "--reason", "x"), "there is no reason SOLD_OUT"),
        (("discard", "an-id", "--reason", " "), "--reason must have 1 to 200 characters"),
        (("discard", "an-id", "--reason", "x", "--actor", "two words"), "--actor must be 1 to 64 printable characters"),
        (("discard", "an-id", "--reason", "x", "--actor", "engine"), "none of engine"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_wrong_usage(nats_server: NatsServer, said: tuple[str, ...], expected: str) -> None:
    ran = commands.run("exceptions", *said, "--nats-url", nats_server.url)
    assert ran.code == 2
    assert expected in ran.error
