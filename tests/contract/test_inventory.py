"""Events and snapshots over gRPC: who may send them, and what is said without NATS."""

import asyncio
import contextlib
import time
from pathlib import Path

import grpc

from atp import events
from atp.errors import IntakeUnavailableError
from atp.intake import Taken
from cli.embedded import NatsServer, StoreServer
from inventory.availability.v1 import inventory_service_pb2 as ip
from service.call import Identity, Scope
from tests.contract.conftest import Engine, Shop, make_stream, serving
from tests.contract.intake import ACCEPTED, REFUSED, adjust, event, failure, part, stream_of, sync, violations


# --- who may ------------------------------------------------------------------------------------------------------
def test_a_caller_speaks_for_itself_and_for_the_sources_it_was_given(runner: asyncio.Runner, valkey: StoreServer, nats: NatsServer) -> None:
    oms = Identity("oms", frozenset({Scope.FEED}), sources=frozenset({"shop"}))
    with serving(runner, valkey, nats, oms) as shop:
        results = adjust(shop, event("e1", source="oms"), event("e2", source="wms"), event("e3", source="shop"))
        assert [result.outcome for result in results] == [ACCEPTED, REFUSED, ACCEPTED]
        assert results[1].refusal.reason == ip.Refusal.REASON_SOURCE_FORBIDDEN
        assert violations(results[1]) == {"source": "wms is not among those that oms speaks for"}
        assert sorted(one.id for one in stream_of(shop, nats)) == ["e1", "e3"]
        failed = failure(sync, shop, [part(shop, source="wms")])
        assert (failed.code, failed.reason, failed.metadata) == ("PERMISSION_DENIED", "SOURCE_FORBIDDEN", {"source": "wms"})


def test_a_caller_without_the_scope_or_for_other_pools_is_refused(runner: asyncio.Runner, valkey: StoreServer, nats: NatsServer) -> None:
    for identity, reason in (
        (Identity("wms", frozenset({Scope.READ, Scope.RESERVE})), "SCOPE_MISSING"),
        (Identity("wms", frozenset({Scope.FEED}), frozenset({"another"})), "POOL_FORBIDDEN"),
    ):
        with serving(runner, valkey, nats, identity) as shop:
            assert failure(adjust, shop, event("e1")).reason == reason
            assert failure(sync, shop, [part(shop)]).reason == reason
            assert stream_of(shop, nats) == []


# --- without NATS -------------------------------------------------------------------------------------------------
def test_a_service_that_was_not_told_of_nats_says_so(engine: Engine) -> None:
    failed = failure(adjust, Shop(engine), event("e1"))
    assert (failed.code, failed.reason, failed.metadata) == ("UNAVAILABLE", "INTAKE_UNAVAILABLE", {"outcome_unknown": "false"})
    assert failed.retry_ms == 1_000


class Faltering:
    """An intake that is away from its second event on."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, pool: str, event: events.Event) -> Taken:
        if self.taken:
            raise IntakeUnavailableError("NATS is away")
        self.taken += 1
        return Taken(self.taken)


def test_a_call_that_is_cut_off_says_that_some_of_its_events_may_have_been_taken(runner: asyncio.Runner, valkey: StoreServer) -> None:
    engine = Engine(runner, valkey.url, intake=Faltering())
    failed = failure(adjust, Shop(engine), event("e1"), event("e2"))
    assert (failed.reason, failed.metadata) == ("INTAKE_UNAVAILABLE", {"outcome_unknown": "true"})
    engine.close()


def test_while_nats_is_away_no_event_is_taken_and_everything_else_goes_on(
    runner: asyncio.Runner, valkey: StoreServer, tmp_path: Path
) -> None:
    with NatsServer(tmp_path, sync_interval="10s") as server:
        runner.run(make_stream(server))
        with serving(runner, valkey, server) as shop:
            assert adjust(shop, event("e1"))[0].outcome == ACCEPTED
            server.kill()
            for call, argument in ((adjust, event("e2")), (sync, [part(shop)])):
                failed = failure(call, shop, argument)
                assert (failed.code, failed.reason) == ("UNAVAILABLE", "INTAKE_UNAVAILABLE")
            assert shop.reserve(("A", 1), rid="r1").reservation_id == "r1"
            server.start()

            def taken() -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return adjust(shop, event("e2"))[0].outcome == ACCEPTED
                return False

            deadline = time.monotonic() + 20
            while not taken():
                assert time.monotonic() < deadline
                runner.run(asyncio.sleep(0.01))
            assert [one.id for one in stream_of(shop, server)] == ["e1", "e2"]
