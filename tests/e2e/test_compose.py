"""compose.yaml and the Dockerfile, played without containers: the same commands, settings and users, on servers of this machine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import config, processes
from cli.embedded import HOST, free_port, nats_binary

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
READY_S = 30.0

pytestmark = pytest.mark.slow


class Played:
    """What compose would start, each with its own settings, where the names of hosts and folders stand for ports and folders here."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._ports = {name: free_port() for name in ("redis", "nats", "service", "consumers metrics", "service metrics")}

    def here(self, text: str) -> str:
        for there, here in {
            "redis:6379": f"{HOST}:{self._ports['redis']}",
            "nats:4222": f"{HOST}:{self._ports['nats']}",
            "0.0.0.0:8443": f"{HOST}:{self._ports['service']}",
            "127.0.0.1:8443": f"{HOST}:{self._ports['service']}",
            "/var/lib/atp": str(self._folder),
            "/tmp/users.acl": str(self._folder / "users.acl"),
            "/etc/atp/users.acl": str(ROOT / "deploy/redis/users.acl"),
            "exec redis-server": f"exec redis-server --port {self._ports['redis']} --dir {self._folder} --bind {HOST}",
            "$$": "$",
        }.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        told = {key: self.here(value) for key, value in SERVICES[name].get("environment", {}).items()}
        metrics = {"ATP_METRICS_LISTEN": f"{HOST}:{self._ports[f'{name} metrics']}"} if f"{name} metrics" in self._ports else {}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ATP_")}
        return {**inherited, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **told, **metrics}

    def run(self, name: str, *command: str) -> str:
        """Runs a command as a container of that service would, and returns what it prints."""
        words = [sys.executable, "-m", "cli.main", *command] if command else [*SERVICES[name]["entrypoint"], *SERVICES[name]["command"]]
        done = subprocess.run(
            [self.here(word) for word in words],
            cwd=self._folder,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, words: list[str]) -> None:
        """Starts what goes on, and waits for its health check."""
        log = self._folder / f"{name}.log"
        process = processes.spawn([self.here(word) for word in words], log, env=self.environment(name))
        self._stack.callback(processes.stop, process, 15)
        deadline = time.monotonic() + READY_S
        while not self._is_healthy(name):
            assert process.poll() is None, processes.log_tail(log)
            assert time.monotonic() < deadline, processes.log_tail(log)
            time.sleep(0.1)

    def _is_healthy(self, name: str) -> bool:
        check = self._check(name)
        return subprocess.run(check, env=self.environment(name), capture_output=True, timeout=10, check=False).returncode == 0

    def _check(self, name: str) -> list[str]:
        if name == "redis":
            return ["sh", "-c", SERVICES["redis"]["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {self._ports['redis']}")]
        if name == "nats":
            return [sys.executable, "-c", f"import socket; socket.create_connection(('{HOST}', {self._ports['nats']}), 1)"]
        found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", DOCKERFILE, re.DOTALL)
        assert found is not None
        words: list[str] = json.loads(found[1])
        return [sys.executable, *(word.replace("9464", str(self._ports[f"{name} metrics"])) for word in words[1:])]

    def nats(self) -> list[str]:
        """The server with the file of `deploy/`, but for its port and folder."""
        text = (ROOT / "deploy/nats/nats.conf").read_text()
        text = text.replace("port: 4222", f"port: {self._ports['nats']}\nhost: {HOST}").replace("/data/", f"{self._folder}/nats/")
        (self._folder / "nats.conf").write_text(text)
        return [str(nats_binary()), "--config", str(self._folder / "nats.conf")]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """All of it, in the order that compose keeps."""
    if shutil.which("redis-server") is None:
        if os.environ.get("ATP_REQUIRE_REDIS"):
            pytest.fail("ATP_REQUIRE_REDIS is set, and no redis-server is on the PATH")
        pytest.skip("no redis-server on the PATH: compose.yaml cannot be played (Debian: apt install redis-server)")
    with ExitStack() as stack:
        made = Played(tmp_path_factory.mktemp("compose"), stack)
        made.start("redis", ["/bin/sh", *SERVICES["redis"]["command"][1:]])
        made.start("nats", made.nats())
        made.run("setup")
        atp = [sys.executable, "-m", "cli.main"]
        made.start("consumers", [*atp, *SERVICES["consumers"]["command"]])
        made.start("service", [*atp, *SERVICES["service"]["command"]])
        yield made


def test_the_first_commands_of_the_file_answer_as_it_says(played: Played) -> None:
    command, answer = shown("docker compose exec service atp (get .*?)   +(.*)")
    deadline = time.monotonic() + READY_S
    while (said := played.run("service", *shlex.split(command)).splitlines()[0]) != answer:
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    (admins,) = shown("docker compose run --rm admin (\\w+) ")
    assert "No rule was bent" in played.run("admin", admins)


def shown(form: str) -> tuple[str, ...]:
    """What the opening comment of the file says."""
    found = re.search(form, (ROOT / "compose.yaml").read_text())
    assert found is not None
    return found.groups()


def test_a_set_up_that_runs_again_changes_nothing(played: Played) -> None:
    assert "nothing to change" in played.run("setup")


def test_every_part_is_configured_without_a_mistake(tmp_path: Path) -> None:
    image = dict(re.findall(r"(ATP_\w+)=(\S+)", DOCKERFILE))
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    for name in ("setup", "admin", "consumers", "service"):
        told: Mapping[str, str] = {**image, **SERVICES[name]["environment"]}
        found = config.load({key: value.replace("/var/lib/atp/keys", str(tmp_path)) for key, value in told.items()})
        assert (config.service(found).token is not None) == (name == "service"), "the service asks who calls"


def test_the_image_is_not_root_and_each_of_its_containers_is_kept_small() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    for name in ("setup", "admin", "consumers", "service"):
        assert SERVICES[name]["read_only"]
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", ()))


def test_the_broker_is_given_every_password_that_its_file_asks_for() -> None:
    asked = set(re.findall(r"password: \$(\w+)", (ROOT / "deploy/nats/nats.conf").read_text()))
    assert asked <= set(SERVICES["nats"]["environment"])
