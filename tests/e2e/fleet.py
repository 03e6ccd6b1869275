"""A fleet of real `atp` processes: each has a name, and is killed, frozen, ended and started again by it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cli import processes
from cli.embedded import HOST, free_port
from cli.supervisor import STOP_GRACE_S, Command
from tests.e2e.consuming import until

START_S: Final = 40.0  # many interpreters at once, on a machine with one core
READY: Final = ("serving on ", "running: ")  # what a service says, and what a consumer says
TROUBLE: Final = ("Traceback", " ERROR ")


class Member(Command):
    """One process. It dies with the thread that starts it, so start it from the test's own."""

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self._process is not None:
            processes.kill(self._process)

    def freeze(self) -> None:
        """Lets it stand still with all its connections open."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def ask_to_end(self) -> None:
        self._send(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""

        async def true() -> bool:
            return not self.running

        await until(true, f"{self.name} ends", STOP_GRACE_S)
        assert self._process is not None
        return self._process.returncode

    async def started(self) -> None:
        async def true() -> bool:
            said = self.log_tail()
            assert self.running, f"{self.name} ended: {said}"
            return any(word in said for word in READY)

        await until(true, f"{self.name} is ready", START_S)

    async def restarted(self) -> None:
        self.start()
        await self.started()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)


class Fleet:
    """Services and consumers on the same servers; `config` is a configuration file for what addresses alone do not say."""

    def __init__(self, folder: Path, store_url: str, nats_url: str, config: Path | None = None) -> None:
        self._folder = folder
        self._head = ["--config", str(config)] if config else []
        self._store = ["--store-url", store_url]
        self._nats = ["--nats-url", nats_url]
        self.addresses: list[str] = []
        self.members: dict[str, Member] = {}

    def add_services(self, count: int) -> None:
        for number in range(1, count + 1):
            self.addresses.append(f"{HOST}:{free_port()}")
            self._add(f"service-{number}", ["serve", "--listen", self.addresses[-1], *self._store])

    def add_consumers(self, role: str, count: int) -> None:
        for number in range(1, count + 1):
            self._add(f"{role}-{number}", ["consume", role, *self._store, *self._nats])

    def _add(self, name: str, words: list[str]) -> None:
        self.members[name] = Member(name, [*self._head, *words], self._folder)

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def of(self, *kinds: str) -> Iterator[Member]:
        """Members by what their names begin with, in the order of the kinds."""
        return (member for kind in kinds for name, member in self.members.items() if name.startswith(f"{kind}-"))

    async def started(self) -> None:
        """All of them, at once."""
        for member in self.members.values():
            member.start()
        for member in self.members.values():
            await member.started()

    def troubles(self) -> list[str]:
        """Lines of any log that tell of a bug."""
        logs = {name: member.log_path.read_text() for name, member in self.members.items()}
        return [f"{name}: {line}" for name, log in logs.items() for line in log.splitlines() if any(word in line for word in TROUBLE)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for member in self.members.values():
            member.thaw()  # a frozen process cannot end in order
            member.ask_to_end()
        for member in self.members.values():
            member.stop()
