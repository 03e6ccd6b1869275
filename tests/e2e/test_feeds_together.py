"""Events that wait in numbers go to the store many in a call, and each is settled as if it had come alone."""

import asyncio
from collections.abc import Iterator

import pytest
from nats.js.api import ConsumerInfo

from atp.model.status import ExceptionReason
from cli.embedded import NatsServer, StoreServer
from consumers import streams
from tests.e2e.consuming import consuming, engine, envelope, items, quick_store, receipt, stock, until


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


def test_among_many_each_has_the_verdict_that_it_would_have_alone(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("many", store_server, nats_server) as made:
            await stock(made)
            shipped = {"node": "N1", "sequence": 50, "shipment_id": "S1", "lines": [{"sku": "A", "quantity": 4}]}
            backlog = [
                *(receipt(number, {"A": 1}) for number in range(2, 12)),
                receipt(11, {"A": 1}),
                receipt(11, {"A": 2}, id="another"),
                receipt(60, {"A": 1}, node="N9", id="elsewhere"),
                receipt(61, {"B": 7}),
                envelope("shipment", "wms", shipped),
                items(2, "B"),
                receipt(62, {"A": 10}),
            ]
            for event in backlog:
                await made.send(event)
            async with consuming("all", made, store_server, nats_server):
                await made.has("A", 100 + 10 + 10 - 4)
                await made.has("B", 7)
                assert (await made.exception("event:wms/another")).reason == ExceptionReason.SEQUENCE_CONFLICT
                assert (await made.exception("event:wms/elsewhere")).reason == ExceptionReason.UNKNOWN_NODE
                assert (await made.exception("ship:S1")).reason == ExceptionReason.SHIPMENT_WITHOUT_ALLOCATION
                assert (made.settled("duplicate"), made.settled("applied")) == (1, 14)

                async def all_acked() -> ConsumerInfo | None:
                    info = await made.js.consumer_info(streams.INVENTORY, streams.feed_durable(made.pool))
                    return info if info.num_ack_pending == 0 else None

                durable: ConsumerInfo = await until(all_acked, "every one is acked")
                assert durable.delivered is not None
                assert durable.delivered.consumer_seq == len(backlog), "and none had to come again for that"

    asyncio.run(scenario())
