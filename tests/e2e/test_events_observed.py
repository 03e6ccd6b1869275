"""Events as their log and their traces show them."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

from atp.observed import busy_with
from atp.store import Store, Stores
from cli.embedded import NatsServer, StoreServer
from consumers import bootstrap
from consumers.heard import Settled
from consumers.settle import StoreSettler
from tests.e2e.consuming import DEADLINE_S, engine, items, receipt, until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Ended(NamedTuple):
    name: str
    traceparent: str
    outcome: str
    subject: str


class Tracer:
    """Keeps what ended."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []

    def begin(self, name: str, traceparent: str) -> "Span":
        return Span(self.ended, name, traceparent)


class Span:
    def __init__(self, ended: list[Ended], name: str, traceparent: str) -> None:
        self._ended, self._name, self._traceparent = ended, name, traceparent

    def end(self, outcome: str, attributes: Mapping[str, str]) -> None:
        assert attributes["event"].startswith("INVENTORY:")
        self._ended.append(Ended(self._name, self._traceparent, str(outcome), attributes["subject"]))


def test_an_event_is_a_span_of_the_trace_that_it_names_and_ends_with_its_verdict(valkey: StoreServer, nats_server: NatsServer) -> None:
    tracer = Tracer()

    async def play() -> None:
        async with engine("traced", valkey, nats_server) as made:
            stop = asyncio.Event()
            work = asyncio.create_task(bootstrap.consume("feeds", Stores(Store(valkey.url)), nats_server.url, stop=stop, tracer=tracer))
            await made.js.publish("inv.traced.erp.item_registered", msgspec.json.encode(items(1, "A")), headers={"traceparent": PARENT})
            await until(lambda: enough(1), "its span")
            await made.send(receipt(1, {"A": 5}))
            await made.send(b"no event")
            await until(lambda: enough(3), "three spans")
            stop.set()
            await asyncio.wait_for(work, DEADLINE_S)

    async def enough(number: int) -> bool:
        return len(tracer.ended) == number

    asyncio.run(play())
    assert sorted(tracer.ended) == [
        Ended("event", "", "MALFORMED", "inv.traced.wms.receipt"),
        Ended("event", "", "applied", "inv.traced.wms.receipt"),
        Ended("event", PARENT, "applied", "inv.traced.erp.item_registered"),
    ]


def test_whatever_is_logged_while_an_event_is_settled_carries_the_event(
    valkey: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Mapping[str, str]] = []
    verdict = StoreSettler.verdict

    async def telling(settler: StoreSettler, message: Any) -> Settled:
        work = busy_with.get()
        assert work is not None
        seen.append(work.log_fields())
        return await verdict(settler, message)

    monkeypatch.setattr(StoreSettler, "verdict", telling)

    async def play() -> None:
        async with engine("told", valkey, nats_server) as made:
            stop = asyncio.Event()
            work = asyncio.create_task(bootstrap.consume("feeds", Stores(Store(valkey.url)), nats_server.url, stop=stop))
            await made.send(items(1, "A", "B"))
            await until(told, "it is settled")
            stop.set()
            await asyncio.wait_for(work, DEADLINE_S)

    async def told() -> bool:
        return bool(seen)

    asyncio.run(play())
    (fields,) = seen
    assert fields["subject"] == "inv.told.erp.item_registered"
    assert fields["event"].startswith("INVENTORY:")
