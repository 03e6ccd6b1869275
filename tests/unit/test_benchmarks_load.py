"""The load generator against a real gRPC server."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from benchmarks.load import Load, LoadError, Target, quantile

DEADLINE_S = 20.0
Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def serving(answer: Answer) -> Iterator[Target]:
    class AnyMethod(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[AnyMethod()], options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield Target(f"127.0.0.1:{port}", "/bench.Test/Call", b"good")
    finally:
        server.stop(None).wait(DEADLINE_S)


def test_every_call_is_made_once_with_its_message_in_turn():
    came: list[bytes] = []

    def note(request, context):
        came.append(request)
        return b"good, " + request

    with serving(note) as target, Load(target, [b"a", b"b" * 10_000]) as load:
        assert load.flat_out(100) > 0
        assert len(load.at_rate(5_000, 50)) == 50
    assert sorted(came) == [b"a"] * 75 + [b"b" * 10_000] * 75


def test_calls_go_on_being_sent_while_one_is_not_answered():
    numbers, enough = itertools.count(1), threading.Event()

    def first_waits_for_the_others(request, context):
        number = next(numbers)
        if number == 1:
            assert enough.wait(DEADLINE_S)
        if number == 20:
            enough.set()
        return b"good"

    with serving(first_waits_for_the_others) as target, Load(target, [b"x"]) as load:
        seconds = load.at_rate(1_000, 40)
    assert enough.is_set()
    assert len(seconds) == 40


def test_a_wait_counts_from_when_the_call_was_due_and_not_from_when_it_could_be_sent():
    with serving(lambda request, context: b"good") as target, Load(target, [b"x"]) as load:
        all_due_at_once = load.at_rate(1e12, 300)
    assert all_due_at_once == sorted(all_due_at_once)


@pytest.mark.parametrize(
    "answer", [lambda request, context: b"bad", lambda request, context: context.abort(grpc.StatusCode.INTERNAL, "no")]
)
def test_a_call_that_is_not_answered_well_ends_the_run(answer):
    with serving(answer) as target, Load(target, [b"x"]) as load, pytest.raises(LoadError, match="answered"):
        load.flat_out(10)


def test_quantiles_are_values_that_were_there():
    assert [quantile(range(100, 0, -1), share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert quantile([7], 0.99) == 7
