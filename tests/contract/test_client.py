"""The Python client, plain and asyncio: what it asks for, how it tells outcomes from errors, and where it sends a token."""

import asyncio
import contextlib
import inspect
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

import atp_client
from atp_client import (
    AsyncAtpClient,
    AtpClient,
    AtpError,
    Confirmed,
    DeniedError,
    ExceedsHeld,
    Extended,
    FaultError,
    Held,
    InsufficientStock,
    InvalidRequestError,
    ItemState,
    KeyReusedError,
    NodeState,
    NotFoundError,
    PreconditionError,
    Refused,
    Released,
    Shipped,
    Shortfall,
    State,
    TimedOutError,
    UnavailableError,
    WrongState,
    reading,
)
from atp_client.exchange import KEYS
from atp_client.ids import uuid7
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.reservation_pb2 import Reservation
from tests.contract.conftest import Engine, Shop
from tests.e2e import commands
from tests.e2e.commands import Ran

KINDS = (AtpClient, AsyncAtpClient)


class Caller:
    """A client of either kind, called from outside its loop: `caller.reserve(…)` is the call and its answer."""

    def __init__(self, kind: type[AtpClient | AsyncAtpClient], engine: Engine, address: str | list[str], **settings: Any) -> None:
        self._engine = engine
        self._asyncio = kind is AsyncAtpClient

        async def make() -> AtpClient | AsyncAtpClient:
            return kind(address, **{"channel": "web", "timeout_s": 20, **settings})

        self.client = engine.runner.run(make())

    def begin(self, name: str, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """A call that has yet to be waited for."""
        method = getattr(self.client, name)
        begun: Awaitable[Any] = method(*args, **kwargs) if self._asyncio else asyncio.to_thread(method, *args, **kwargs)
        return begun

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._engine.run(self.begin(name, *args, **kwargs))


@contextlib.contextmanager
def calling(kind: type[AtpClient | AsyncAtpClient], engine: Engine, address: str | list[str], **settings: Any) -> Iterator[Caller]:
    caller = Caller(kind, engine, address, **settings)
    yield caller
    caller.close()


@pytest.fixture(params=KINDS, ids=["plain", "asyncio"])
def kind(request: pytest.FixtureRequest) -> type[AtpClient | AsyncAtpClient]:
    found: type[AtpClient | AsyncAtpClient] = request.param
    return found


@pytest.fixture
def client(kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop) -> Iterator[Caller]:
    with calling(kind, engine, engine.address, pool=shop.pool) as caller:
        yield caller


# --- answers ----------------------------------------------------------------------------------------------------------
def test_a_reservation_goes_from_hold_to_shipment(client: Caller, shop: Shop) -> None:
    held = client.reserve({"A": 12, "B": 1}, reservation_id="r1", order_reference="o1", ttl_ms=60_000, correlation="basket-1")
    assert isinstance(held, Held)
    assert held.expire_time - held.time == timedelta(minutes=1)
    assert [tuple(move) for move in held.moves] == [(1, "A", "N1", 10), (2, "A", "N2", 2), (3, "B", "N1", 1)]
    assert isinstance(client.extend("r1", ttl_ms=120_000), Extended)
    assert isinstance(client.release("r1", {1: 4, 2: 2}), Released)
    confirmed = client.confirm("r1", operation_key="pay-1")
    assert isinstance(confirmed, Confirmed)
    assert (confirmed.state, confirmed.replayed) == (State.CONFIRMED, False)
    assert client.confirm("r1", operation_key="pay-1").replayed
    part = client.fulfil("r1", {1: 5}, shipment_id="s1", ship_time=datetime.now(UTC))
    assert isinstance(part, Shipped)
    assert part.state is State.CONFIRMED
    assert client.fulfil("r1", [1, 3], shipment_id="s2").state is State.FULFILLED
    found = client.get("r1")
    assert (found.state, found.order_reference, found.expire_time) == (State.FULFILLED, "o1", None)
    assert [(line.sku, line.quantity, line.released, line.shipped, line.open) for line in found.lines] == [
        ("A", 10, 4, 6, 0),
        ("A", 2, 2, 0, 0),
        ("B", 1, 0, 1, 0),
    ]
    assert client.list("o1") == (found,)
    assert client.list("o2") == ()


def test_what_can_be_promised_is_told_per_sku_and_node(client: Caller) -> None:
    seen = client.availability({"A": 15, "B": 3, "X": 1})
    assert [(line.sku, line.known, line.available, line.fulfillable) for line in seen.lines] == [
        ("A", True, 15, True),
        ("B", True, 2, False),
        ("X", False, 0, False),
    ]
    assert seen.lines[0].nodes == {"N1": 10, "N2": 5}
    assert client.availability(["A", ("A", 14)], nodes=["N2"]).lines[0].nodes == {"N2": 5}


def test_what_is_blocked_discontinued_or_shut_is_told(client: Caller, shop: Shop) -> None:
    assert {line.state for line in client.availability(["A", "B"]).lines} == {ItemState.ACTIVE}
    shop.engine.run(shop.set_item("A", "blocked"))
    shop.engine.run(shop.set_item("B", "discontinued"))
    shop.engine.run(shop.set_node("N2", "closed"))
    seen = client.availability(["A", "B", "X"]).lines
    assert [(line.state, line.available) for line in seen] == [
        (ItemState.BLOCKED, 0),
        (ItemState.DISCONTINUED, 3),
        (ItemState.UNKNOWN, 0),
    ]
    assert (seen[0].nodes, seen[0].shut, seen[1].shut) == ({"N1": 0, "N2": 0}, {"N2"}, set())
    told = client.explain("A", "N2")
    assert (told.item_state, told.node_state, told.available) == (ItemState.BLOCKED, NodeState.CLOSED, 0)
    assert client.explain("B", "N1").node_state is NodeState.ACTIVE


def test_a_figure_is_explained_by_its_terms_and_its_last_change(client: Caller) -> None:
    client.reserve({"A": 2}, reservation_id="why", correlation="basket-2")
    told = client.explain("A", "N1")
    assert (told.terms["on_hand"], told.terms["reserved"], told.available) == (10, -2, 8)
    assert (told.entry.verb, told.entry.cause, told.entry.correlation) == ("reserve", "why", "basket-2")
    assert [tuple(fact) for fact in told.entry.facts] == [("A", "N1", "reserved", 2)]
    reserved = told.changes["reserved"]
    assert (reserved.verb, reserved.cause, reserved.actor, reserved.correlation, reserved.delta) == (
        "reserve",
        "why",
        "local",
        "basket-2",
        2,
    )
    assert (reserved.revision, reserved.time) == (told.entry.revision, told.entry.time)
    assert (told.sources["on_hand"], told.searched_revision) == ("wms", 1)
    assert {"damaged", "reserved"} & (told.changes.keys() ^ told.sources.keys()) == {"damaged", "reserved"}


def test_a_refusal_is_an_answer_that_is_false_and_says_why(client: Caller, shop: Shop) -> None:
    short = client.reserve({"A": 16, "B": 1})
    assert isinstance(short, InsufficientStock)
    assert not short
    assert short.shortfalls == (Shortfall("A", 16, 15),)
    partly = client.reserve([("A", 16)], partial=True, reservation_id="r1")
    assert partly
    assert partly.shortfalls == (Shortfall("A", 16, 15),)
    exceeds = client.release("r1", {2: 6})
    assert isinstance(exceeds, ExceedsHeld)
    assert exceeds.lines == (2,)
    early = client.fulfil("r1", shipment_id="s1")
    assert isinstance(early, WrongState)
    assert early.state is State.HELD
    shop.tick(900_001)
    late = client.confirm("r1")
    assert isinstance(late, WrongState)
    assert isinstance(late, Refused)
    assert (late.state, late.outcome, bool(late)) == (State.EXPIRED, "EXPIRED", False)
    assert client.reserve({"A": 1})
    assert isinstance(client.confirm("r1", reacquire=True), InsufficientStock)


def test_a_call_without_an_id_gets_one_of_the_client(client: Caller) -> None:
    first, second = client.reserve({"A": 1}), client.reserve({"A": 1})
    assert first.reservation_id < second.reservation_id, "in order of time"
    assert first.reservation_id[14] == "7"
    assert not client.confirm(first.reservation_id).replayed
    assert isinstance(client.confirm(first.reservation_id), WrongState), "another confirmation, with another key"


def test_an_outcome_of_a_later_version_is_an_error_that_says_so() -> None:
    with pytest.raises(FaultError, match=r"outcome 99\b.* update"):
        reading.reserved(rp.ReserveResponse(outcome=99))
    assert reading.reservation(Reservation(state=99)).state is State.UNKNOWN


# --- errors -----------------------------------------------------------------------------------------------------------
def test_a_wrong_call_is_told_field_by_field(client: Caller) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        client.reserve({"A": 0}, order_reference="two words")
    assert {violation.field for violation in raised.value.violations} == {"order_reference", "lines[0].quantity"}
    assert (raised.value.reason, raised.value.outcome_unknown) == ("INVALID_REQUEST", False)


def test_each_kind_of_error_is_a_class_of_its_own(client: Caller) -> None:
    with pytest.raises(NotFoundError) as unknown:
        client.reserve({"X": 1, "Y": 1})
    assert (unknown.value.reason, unknown.value.metadata["skus"]) == ("UNKNOWN_SKU", "X Y")
    assert str(unknown.value).startswith("UNKNOWN_SKU (X, Y). ")
    client.reserve({"A": 1}, reservation_id="r1")
    with pytest.raises(KeyReusedError) as reused:
        client.reserve({"A": 2}, reservation_id="r1")
    assert reused.value.metadata["differs"] == "lines"
    with pytest.raises(PreconditionError) as stale:
        client.reserve({"A": 1}, reservation_id=f"00{uuid7()[2:]}")
    assert stale.value.reason == "RESERVATION_ID_STALE"
    assert isinstance(stale.value, AtpError)


def test_what_cannot_be_sent_is_refused_where_it_is_written(client: Caller) -> None:
    with pytest.raises(TypeError, match="not one string"):
        client.availability("A")
    with pytest.raises(ValueError, match="time zone"):
        client.fulfil("r1", shipment_id="s1", ship_time=datetime(2026, 1, 1))  # noqa: DTZ001  # the mistake it is about


# --- how it is reached ------------------------------------------------------------------------------------------------
def test_a_token_goes_with_every_call_and_may_change(kind: type[AtpClient | AsyncAtpClient], engine: Engine) -> None:
    tokens = iter(["one", "two\n"])  # as a file has it
    with hearing(engine) as (address, heard), calling(kind, engine, address, pool="p", token=lambda: next(tokens)) as client:
        for _ in range(2):
            with pytest.raises(DeniedError, match="UNAUTHENTICATED: no token of ours"):
                client.get("r1")
    assert heard == ["Bearer one", "Bearer two"]


def test_a_service_behind_tls_is_known_by_its_name_and_knows_its_client(
    kind: type[AtpClient | AsyncAtpClient], engine: Engine, tmp_path: Path
) -> None:
    ca, ours, credentials = certificates(tmp_path)

    async def answer(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return rp.GetReservationResponse(reservation=Reservation(reservation_id="r1")).SerializeToString()

    with serving(engine, answer, credentials) as first, serving(engine, answer, credentials) as second:
        trusted = {"pool": "p", "token": "t", "ca_file": ca, "server_name": "atp.example"}
        for address in (first, [first, second]):
            with calling(kind, engine, address, **trusted, **ours) as client:
                assert client.get("r1").reservation_id == "r1"
        for wrong in ({**trusted, **ours, "server_name": "other.example"}, trusted):
            with calling(kind, engine, first, **wrong, timeout_s=1) as client, pytest.raises((UnavailableError, TimedOutError)):
                client.get("r1")


def certificates(folder: Path) -> tuple[Path, dict[str, Path], grpc.ServerCredentials]:
    """Whom to trust, a client's own files, and what a server called atp.example, or localhost, shows to clients that it knows."""
    authority = trustme.CA()
    ca, ours = folder / "ca.pem", {"certificate_file": folder / "our.pem", "key_file": folder / "our.key"}
    authority.cert_pem.write_to_path(ca)
    client = authority.issue_cert("shop@atp.example")
    client.cert_chain_pems[0].write_to_path(ours["certificate_file"])
    client.private_key_pem.write_to_path(ours["key_file"])
    server = authority.issue_cert("atp.example", "localhost")
    pair = [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())]
    return ca, ours, grpc.ssl_server_credentials(pair, authority.cert_pem.bytes(), require_client_auth=True)


def test_a_command_takes_its_token_and_certificates_from_the_environment(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, ours, credentials = certificates(tmp_path)
    seen: list[str] = []

    async def answer(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        seen.append(str(dict(context.invocation_metadata() or ())["authorization"]))
        return rp.GetReservationResponse(reservation=Reservation(reservation_id="r1")).SerializeToString()

    def show(address: str) -> Ran:
        ran: Ran = engine.run(asyncio.to_thread(commands.run, "show", "r1", "--json", "--address", address))
        return ran

    monkeypatch.setenv("ATP_TOKEN", "t")
    refused = show("service.example:1")
    assert (refused.code, "plain text" in refused.error, "ATP_CA_FILE" in refused.error) == (2, True, True)
    monkeypatch.setenv("ATP_CA_FILE", str(ca))
    for name, path in ours.items():
        monkeypatch.setenv(f"ATP_{name.upper()}", str(path))
    with serving(engine, answer, credentials) as address:
        ran = show(address.replace("127.0.0.1", "localhost"))
    assert (ran.code, ran.json["reservation_id"], seen) == (0, "r1", ["Bearer t"])


def test_a_command_whose_end_is_unknown_says_which_id_to_repeat_it_with(engine: Engine) -> None:
    async def vanish(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    with serving(engine, vanish) as address:
        ran: Ran = engine.run(asyncio.to_thread(commands.run, "reserve", "A=1", "--id", "r1", "--address", address))
        read: Ran = engine.run(asyncio.to_thread(commands.run, "show", "r1", "--address", address))
    assert (ran.code, read.code) == (3, 3)
    assert ran.error.splitlines() == [
        f"no service answers at {address}: start it with `atp up`, or say --address; if it speaks TLS, say ATP_CA_FILE. (gone)",
        "It may have been done or not: the same command again with --id r1 is harmless, and tells.",
    ]
    assert len(read.error.splitlines()) == 1


@contextlib.contextmanager
def serving(engine: Engine, handler: Any, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """A server that answers every method with one handler, and says nothing of its health."""

    class Everything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            of_health = handler_call_details.method.startswith("/grpc.health.")
            return None if of_health else grpc.unary_unary_rpc_method_handler(handler)

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Everything(),))
        here = "127.0.0.1:0"
        port = server.add_secure_port(here, credentials) if credentials else server.add_insecure_port(here)
        await server.start()
        return server, port

    server, port = engine.run(start())
    yield f"127.0.0.1:{port}"
    engine.run(server.stop(0))


@contextlib.contextmanager
def hearing(engine: Engine) -> Iterator[tuple[str, list[str]]]:
    """A server that refuses every token: where it is, and those that it heard."""
    heard: list[str] = []

    async def refuse(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        heard.append(str(dict(context.invocation_metadata() or ())["authorization"]))
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token of ours")

    with serving(engine, refuse) as address:
        yield address, heard


@pytest.mark.parametrize(
    ("address", "settings", "said"),
    [
        ("10.0.0.1:1", {"token": "t"}, "plain text"),
        (["127.0.0.1:1", "10.0.0.1:1"], {"token": "t"}, "plain text"),
        ("service.example:1", {"token": "t"}, "plain text"),
        ("10.0.0.1", {}, "host:port"),
        ([], {}, "where the service is"),
        (["one.example:1", "two.example:1"], {}, "all IPv4 or all IPv6"),
        (["10.0.0.1:1", "[::1]:1"], {}, "all IPv4 or all IPv6"),
        ("10.0.0.1:1", {"server_name": "atp.example"}, "ca_file"),
        ("10.0.0.1:1", {"ca_file": __file__, "key_file": __file__}, "go together"),
        ("10.0.0.1:1", {"ca_file": __file__}, "no certificate"),
        (["10.0.0.1:1", "10.0.0.2:1"], {"ca_file": __file__}, "server_name"),
    ],
    ids=str,
)
def test_a_way_that_cannot_work_or_is_not_safe_is_refused_at_once(address: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AtpClient(address, pool="p", **settings)


def test_a_token_goes_in_plain_text_to_this_machine_or_when_told_so(engine: Engine) -> None:
    with hearing(engine) as (here, heard):
        port = here.rpartition(":")[2]
        by_another_name = f"0.0.0.0:{port}"  # leads here, which the client does not know
        ways: list[tuple[str | list[str], dict[str, bool]]] = [
            (here, {}),
            (f"localhost:{port}", {}),
            ([here, "127.1.2.3:1"], {}),
            (by_another_name, {"plaintext_token": True}),
        ]
        for number, (address, told) in enumerate(ways, 1):
            with calling(AtpClient, engine, address, pool="p", token="t", **told) as client, pytest.raises(DeniedError):
                client.get("r1")
            assert heard == ["Bearer t"] * number
    AtpClient("[::1]:1", pool="p", token="t").close()  # where nobody listens


def test_a_call_to_this_machine_never_leaves_it(kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop) -> None:
    """A proxy of the environment would see its token, and has another loopback than ours."""
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as proxy:
        patch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        patch.delenv("no_proxy", raising=False)
        with calling(kind, engine, engine.address, pool=shop.pool, token="t", timeout_s=5) as client:
            assert client.availability(["A"]).lines[0].known


# --- both kinds are one -----------------------------------------------------------------------------------------------
def test_both_clients_take_the_same_calls_and_each_write_has_its_key() -> None:
    verbs = {name for name, member in inspect.getmembers(AtpClient, inspect.isfunction) if not name.startswith("_")} - {"close"}
    assert verbs == {"availability", "explain", "reserve", "confirm", "release", "extend", "fulfil", "get", "list", "adjust"}
    for name in verbs:
        assert inspect.signature(getattr(AtpClient, name)) == inspect.signature(getattr(AsyncAtpClient, name))
    methods = {method.name for method in rp.DESCRIPTOR.services_by_name["ReservationService"].methods}
    assert methods - set(KEYS) == {"GetReservation", "ListReservations"}, "a new method that writes needs its key in the table"
    assert set(atp_client.__all__) == {name for name in vars(atp_client) if name[0].isupper()} | {"uuid7"}
