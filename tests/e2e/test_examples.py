"""The examples, run as they are against a service that `atp up` started."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2  # noqa: F401  # the page calls it too, so it must be known

from cli.addresses import Run
from inventory.availability.v1 import availability_service_pb2, reservation_service_pb2
from inventory.availability.v1.reservation_pb2 import OUTCOME_OK
from tests.e2e.test_up import environment, up

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NODE = EXAMPLES / "node"
CONTRACT = (availability_service_pb2, reservation_service_pb2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with up(tmp_path_factory.mktemp("engine")) as terminal:
        yield terminal.run


def said(*command: str | Path) -> str:
    """What a program prints that ends well; what it says on standard error is shown if it does not."""
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_oms_does_an_order_once_however_often_it_runs(engine: Run) -> None:
    first, again = (said(sys.executable, EXAMPLES / "oms.py", engine.address) for _ in range(2))
    assert first == again
    assert first.splitlines() == [
        "order-4712 FULFILLED",
        "TEA-EARL-GREY: 2 held at DC1, 2 shipped, 0 given back",
        "MUG-WHITE: 1 held at DC1, 0 shipped, 1 given back",
    ]


def test_the_checkout_sells_what_there_is_to_who_pays(engine: Run) -> None:
    assert said(sys.executable, EXAMPLES / "checkout.py", engine.address).splitlines() == [
        "MUG-WHITE: 2 wanted, in stock",
        "KETTLE-STEEL: 2 wanted, only 1 left",
        "there is less than wanted: {'MUG-WHITE': 2, 'KETTLE-STEEL': 1}",
        "Ada has no money: {'MUG-WHITE': 2, 'KETTLE-STEEL': 1} let go",
        "there is less than wanted: {'MUG-WHITE': 2, 'KETTLE-STEEL': 1}",
        "Bob pays: {'MUG-WHITE': 2, 'KETTLE-STEEL': 1} sold",
    ]


def test_the_checkout_in_node_does_the_same_over_the_same_contract(engine: Run) -> None:
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules").is_dir():
        pytest.skip("no node on the PATH, or its packages are not there: run `npm ci` in examples/node")
    for _ in range(2):
        assert said(node, NODE / "checkout.js", engine.address).splitlines() == [
            "2 of TEAPOT-2L held at DC1",
            "node-4711: OUTCOME_OK, it is STATE_CONFIRMED",
        ]


def test_every_call_of_the_page_on_grpcurl_is_answered(engine: Run) -> None:
    calls = [words for words in written_commands() if "-d" in words]
    called = set()
    with grpc.insecure_channel(engine.address) as channel:
        for words in calls:
            body, method = words[words.index("-d") + 1], words[-1]
            answer = ask(channel, method, body)
            called.add(method.rpartition("/")[2])
            assert getattr(answer, "outcome", None) in {None, OUTCOME_OK}, words
    services = [service for file in CONTRACT for service in file.DESCRIPTOR.services_by_name.values()]
    assert not {method.name for service in services for method in service.methods} - called


def test_the_page_on_grpcurl_names_what_exists() -> None:
    pool = descriptor_pool.Default()
    for words in written_commands():
        assert "HOST:PORT" in words
        if "describe" in words:
            name = words[-1]
            find: Any = pool.FindServiceByName if name.endswith("Service") else pool.FindMessageTypeByName
            find(name)  # raises KeyError
        assert ("-plaintext" in words) != ("-cacert" in words)


def written_commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh$(.*?)^```", (EXAMPLES / "grpcurl.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line]
    assert {words[0] for words in commands} == {"grpcurl"}
    return commands


def ask(channel: grpc.Channel, method: str, body: str) -> Any:
    """One call, its request read from JSON as grpcurl reads it."""
    service, _, name = method.partition("/")
    described = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    kinds = [message_factory.GetMessageClass(kind) for kind in (described.input_type, described.output_type)]
    call: Any = channel.unary_unary(f"/{method}", kinds[0].SerializeToString, kinds[1].FromString)
    return call(json_format.Parse(body, kinds[0]()), timeout=10)
