"""`atp up`: the whole engine on this machine, with its servers, for a person to try; Ctrl-C stops all of it."""

import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from atp.store import Store
from cli import addresses, demo, exit_codes
from cli.addresses import DATA_DIR, Run
from cli.embedded import HOST, NatsServer, ServerError, StoreServer, free_port
from cli.exit_codes import CommandError
from cli.supervisor import Command, GaveUpError, Part, Supervisor

READY_TIMEOUT_S: Final = 30.0
WATCH_PAUSE_S: Final = 0.2
DEMO_MARK: Final = "demo.loaded"


def run(data: Path, port: int) -> None:
    """Runs everything until asked to stop. Raises CommandError for a folder in use, ServerError for a part that does not start."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)  # the stock of a business is nobody else's
    engine = Engine(data, port, Console(highlight=False))
    with _locked(data), _interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        try:
            engine.start()
            engine.watch()
        except KeyboardInterrupt:
            pass
        except GaveUpError as error:
            raise CommandError(str(error), exit_codes.REFUSED) from error
        finally:
            engine.stop()


class Engine:
    """Everything that `atp up` runs: two servers, the service, the consumers."""

    def __init__(self, data: Path, port: int, console: Console) -> None:
        self._data = data
        self._console = console
        self._store = StoreServer(data / "store")
        self._nats = NatsServer(data / "nats")
        self._port = port
        self._service: Command | None = None
        self._consumers: Command | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def parts(self) -> list[Part]:
        """In the order they start; they stop in the reverse."""
        return [part for part in (self._store, self._nats, self._consumers, self._service) if part is not None]

    def start(self) -> None:
        """Starts the parts one after the other, and says what runs where once the service answers."""
        first = not (self._data / DEMO_MARK).exists()
        with self._step("Valkey, durable") as said:
            self._store.start()
            said.append(self._store.url)
        with self._step("NATS JetStream, durable") as said:
            self._nats.start()
            said.append(self._nats.url)
        if first:
            with self._step(f"pool {demo.POOL}: nodes, channels, sources, streams"):
                self._provision()
        with self._step("consumers and gRPC service") as said:
            self._start_faces()
            said.append(self.address)
        if first:
            with self._step("demo stock, over NATS"):
                asyncio.run(demo.load_demo(self._nats.url))
                self._wait_for_demo()
            (self._data / DEMO_MARK).touch()
        _welcome(self._console, self._data, self._write_run(), first=first)

    def watch(self) -> None:
        """Keeps everything running until the process is asked to stop."""
        supervisor = Supervisor(self.parts, lambda line: self._console.print(f"[yellow]![/] {line}"))
        while True:
            time.sleep(WATCH_PAUSE_S)
            if supervisor.check():
                self._write_run()

    def stop(self) -> None:
        """Stops what was started, the faces first: each finishes what it has in hand before its servers go."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # once asked is enough: stopping is bounded
        (self._data / addresses.RUN_FILE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._console.print("\nStopping: the service and the consumers finish what they have in hand …")
        for part in reversed(self.parts):
            part.stop()
        with contextlib.suppress(OSError):
            self._console.print(f"Stopped. Everything is kept in {self._data}; start it again with the same command.")

    def _provision(self) -> None:
        from consumers.provision import provision

        asyncio.run(provision(demo.PROVISIONING, lambda _: self._store.url, self._nats.url))

    def _start_faces(self) -> None:
        self._port = self._port or free_port()
        servers = ["--store-url", self._store.url, "--nats-url", self._nats.url]
        self._consumers = Command("consumers", ["consume", "all", *servers], self._data)
        self._service = Command("service", ["serve", *servers, "--listen", self.address], self._data)
        self._consumers.start()
        self._service.start()
        self._wait_until_serving([self._consumers, self._service])
        asyncio.run(self._wait_until_open(self._consumers))

    def _wait_until_serving(self, started: list[Command]) -> None:
        import grpc
        from grpc_health.v1 import health_pb2 as health

        from atp_client.connection import NO_PROXY

        deadline = time.monotonic() + READY_TIMEOUT_S
        with grpc.insecure_channel(self.address, options=NO_PROXY) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health.HealthCheckRequest.SerializeToString,
                response_deserializer=health.HealthCheckResponse.FromString,
            )
            while time.monotonic() < deadline:
                for command in started:
                    if not command.running:
                        raise ServerError(f"{command.name} ended at once. The end of {command.log_path}:\n{command.log_tail()}")
                with contextlib.suppress(grpc.RpcError):
                    if check(health.HealthCheckRequest(), timeout=1).status == health.HealthCheckResponse.SERVING:
                        return
                time.sleep(0.05)
        tails = "\n".join(f"The end of {command.log_path}:\n{command.log_tail()}" for command in started)
        raise ServerError(f"the service was not ready within {READY_TIMEOUT_S:g} s.\n{tails}")

    async def _wait_until_open(self, consumers: Command) -> None:
        """Until every pool takes writes: after a restart of the store the relay first compares its ledger with JetStream's."""
        store = await Store.connect(self._store.url)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not all([(await store.pool_info(pool)).open for pool in {demo.POOL, *await store.pools()}]):  # noqa: ASYNC110 (another process opens it)
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            why = f"The end of {consumers.log_path}:\n{consumers.log_tail()}"
            raise ServerError(f"a pool was not open for writing within {READY_TIMEOUT_S:g} s. {why}") from error
        finally:
            await store.close()

    def _wait_for_demo(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while demo.read_promised(self.address) != demo.promised():
            if time.monotonic() > deadline:
                tail = self._consumers.log_tail() if self._consumers is not None else ""
                raise ServerError(f"the demo stock has not arrived within {READY_TIMEOUT_S:g} s. The end of the consumers' log:\n{tail}")
            time.sleep(0.05)

    def _write_run(self) -> Run:
        pids = {part.name: part.pid for part in (self._store, self._nats, self._consumers, self._service) if part is not None}
        run = Run(store_url=self._store.url, nats_url=self._nats.url, address=self.address, pids={"up": os.getpid(), **pids})
        addresses.write_run(self._data, run)
        return run

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[list[str]]:
        """Shows that something is being done, then how long it took; what the body appends is shown with it."""
        began = time.monotonic()
        said: list[str] = []
        with self._console.status(f"{what} …"):
            yield said
        self._console.print(f"[green]✓[/] {' '.join([what, *said])} [dim]{time.monotonic() - began:.1f} s[/]", soft_wrap=True)


def _welcome(console: Console, data: Path, run: Run, *, first: bool) -> None:
    promised = demo.read_promised(run.address)
    nodes = ", ".join(f"{units} at {node}" for node, units in promised.items())
    answer = f"{sum(promised.values())} can be promised: {nodes}"
    console.rule("The promise engine is up")
    console.print(f"  gRPC   [bold]{run.address}[/]  (plaintext, this machine only; health and reflection are on)", soft_wrap=True)
    console.print(
        f"  data   {data}  " + ("(new, with a small demo pool)" if first else "(found again: stock and holds are as you left them)")
    )
    console.print("\n  Paste into a second terminal, in this folder:\n")
    if data != DATA_DIR:  # where no command looks by itself
        where = f"export ATP_ADDRESS={run.address} ATP_STORE_URL={run.store_url} ATP_NATS_URL={run.nats_url}"
        console.print(f"[bold cyan]{where}[/]", soft_wrap=True)
    console.print(f"[bold cyan]{_program()} get {demo.SKU} --channel {demo.CHANNEL}[/]", soft_wrap=True)
    console.print(f"\n  It answers: {answer}")
    console.print("\n  Then try:")
    for command, what in NEXT:
        console.print(f"    {_program()} {command:<17}{what}", soft_wrap=True)
    console.rule("Ctrl-C stops everything and keeps the data")


NEXT: Final = (
    ("race", "200 clients want 50 units: exactly 50 get one"),
    ("simulate", "real order lines, sped up, through holds, shipments and returns"),
    ("verify", "checks that nothing was oversold and that every count is a sum"),
    ("ledger --follow", "follows every change as it happens"),
)


def _program() -> str:
    """How to call this program from here: as briefly as still works."""
    program = Path(sys.argv[0])
    if program.name != "atp":
        return f"{shlex.quote(sys.executable)} -m cli.main"
    with contextlib.suppress(ValueError):
        return shlex.quote(str(program.absolute().relative_to(Path.cwd())))
    return shlex.quote(str(program.absolute()))


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Keeps a second `up` away from a folder in use; the kernel lets go of the lock however this process ends."""
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "?"
            raise CommandError(
                f"{data} is in use by another `atp up` (process {owner}): stop that one first, or choose another folder with --data",
                exit_codes.REFUSED,
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def _interrupt_on(*numbers: signal.Signals) -> Iterator[None]:
    """Has signals interrupt as Ctrl-C does, so that there is one way to stop."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
