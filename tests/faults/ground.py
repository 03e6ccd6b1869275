"""One fault, from the servers it needs to its verdict: a small life goes on while something breaks, and then all must be true."""

import contextlib
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from cli.embedded import NatsServer, StoreServer
from cli.rebuilding import rebuild_pool
from cli.verify import verify_pool
from consumers import streams
from consumers.ledger_reader import read_ledger
from consumers.ledger_writer import FIRST, LAST
from consumers.opening import open_pool
from consumers.provision import apply_pool, apply_streams
from tests.e2e.consuming import Engine, consuming, engine, until
from tests.e2e.fleet import Fleet, Member
from tests.faults import journal
from tests.faults.journal import Seen
from tests.faults.life import DEADLINE_S, HOT, LATECOMERS, NODES, POOL, POOL_FILE, SKUS, Life
from tests.faults.proxy import Proxy

ACK_WAIT_S: Final = 2.0  # instead of half a minute: what nobody acks comes again within a test
#: What a person is told of in this life although all goes well.
EXPECTED: Final = frozenset({ExceptionReason.PICK_SHORT})
_DIE_BY_KILL: Final = -9


class Dying(Member):
    """A consumer that kills itself at a step of `tests/faults/dying.py`."""

    def __init__(self, name: str, role: str, step: str, times: int, ground: "Ground") -> None:
        super().__init__(name, [], ground.folder)
        self._arguments = [*self._arguments[:1], "-m", "tests.faults.dying", role, step, str(times), ground.at.url, ground.nats.url]

    async def died(self) -> None:
        async def true() -> bool:
            return not self.running

        await until(true, f"{self.name} dies", DEADLINE_S)
        assert self._process is not None
        assert self._process.returncode == _DIE_BY_KILL, self.log_tail()


@dataclass
class Ground:
    """What a fault may break. `at` is where the engine finds its store: the server, or the proxy before it."""

    folder: Path
    seed: str
    store: StoreServer
    nats: NatsServer
    proxy: Proxy
    at: Any
    fleet: Fleet
    life: Life
    stack: contextlib.ExitStack  # of what lives as long as this
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def made(self) -> Engine:
        return self.life.made

    @property
    def chance(self) -> random.Random:
        return random.Random(f"{self.seed} fault")


class Fault(NamedTuple):
    """`break_it` returns once the fault is over; `roles` are the consumers that run as processes, by how many; none: within this one."""

    name: str
    break_it: Callable[[Ground], Awaitable[None]]
    roles: dict[str, int] = {"all": 2}  # noqa: RUF012 (never changed)
    is_proxied: bool = False
    kind: Any = "valkey"
    options: Callable[[], dict[str, str]] = dict
    prepare: Callable[[StoreServer], None] | None = None


@dataclass
class Outcome:
    """What came of a fault. Nothing may be lost, and nothing wrong."""

    fault: str
    seed: str
    calls: int
    events: int
    refused: Counter[str]
    repeated: Counter[str]
    accepted_again_s: float
    lost: list[str]
    wrong: list[str]

    @property
    def ok(self) -> bool:
        return not self.lost and not self.wrong


@contextlib.contextmanager
def _servers(folder: Path, fault: Fault) -> Iterator[tuple[StoreServer, NatsServer]]:
    """Durable, as they are by default."""
    store = StoreServer(folder / "store", kind=fault.kind, options=fault.options())
    with store, NatsServer(folder / "nats") as nats:
        if fault.prepare:
            fault.prepare(store)
        yield store, nats


async def play(fault: Fault, seed: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="atp-faults-") as name:
        folder = Path(name)
        with _servers(folder, fault) as (store, nats):
            async with _ground(fault, f"{seed} {fault.name}", folder, store, nats) as ground:
                async with ground.life.going_on():
                    await ground.life.goes_on()
                    await fault.break_it(ground)
                    await ground.life.goes_on()
                return await _judged(fault, ground, seed)


@contextlib.asynccontextmanager
async def _ground(fault: Fault, seed: str, folder: Path, store: StoreServer, nats: NatsServer) -> AsyncIterator[Ground]:
    proxy = Proxy(store.port, random.Random(f"{seed} proxy"))
    at = proxy if fault.is_proxied else store
    async with proxy.serving(), engine(POOL, at, nats, provisioned=False) as made:
        await apply_streams(made.js, POOL)
        await open_pool(made.js, made.store, POOL)
        await apply_pool(made.store, POOL_FILE)
        durable = streams.feed(POOL)
        await made.js.add_consumer(streams.INVENTORY, durable.evolve(ack_wait=ACK_WAIT_S))
        with Fleet(folder, at.url, nats.url) as fleet, contextlib.ExitStack() as stack:
            for role, count in fault.roles.items():
                fleet.add_consumers(role, count)
            await fleet.started()
            async with contextlib.nullcontext() if fault.roles else consuming("all", made, store, nats):
                yield Ground(folder, seed, store, nats, proxy, at, fleet, Life(made, seed), stack)


# --- the verdict ------------------------------------------------------------------------------------------------------
async def _judged(fault: Fault, ground: Ground, seed: int) -> Outcome:
    life, made = ground.life, ground.made
    seen = Seen()
    async with contextlib.aclosing(read_ledger(made.js, POOL)) as ledger:
        async for entries in ledger:
            for entry in map(decode_entry, entries):
                seen.note(entry)
    told = await made.exceptions()
    lost = list(journal.lost(life.journal, life.books, seen, {one.id for one in told}))
    wrong = list(journal.done_twice(life.journal, seen))
    wrong += [f"told: {one.sentence}" for one in told if one.state == "open" and one.reason not in EXPECTED]
    rows = {(sku, node): await made.row(sku, node) for sku in (*SKUS, HOT, *LATECOMERS) for node in NODES}
    wrong += journal.wrong_rows(life.books, life.journal, rows)
    wrong += [one async for one in _wrong_ends(life)]
    wrong += [one async for one in _wrong_messages(made)]
    wrong += (await verify_pool(ground.at.url, ground.nats.url, POOL)).violations
    wrong += await _differing(ground)
    wrong += ground.fleet.troubles()
    repeated = life.journal.repeated + ground.notes
    calls, events = len(life.journal.calls), len(life.journal.events)
    again_s = life.journal.accepted_again_s()
    return Outcome(fault.name, str(seed), calls, events, life.journal.refused, repeated, again_s, lost, wrong)


async def _wrong_ends(life: Life) -> AsyncIterator[str]:
    """Reservations that are not where their shoppers left them."""
    for rid, state in life.journal.ends.items():
        found = (await life.made.store.get_reservation(POOL, rid)).state
        if found != state:
            yield f"reservation {rid} is {found}, and was left {state}"


async def _wrong_messages(made: Engine) -> AsyncIterator[str]:
    """Messages of the ledger that do not follow on: readers would pass over a second copy."""
    stream = streams.ledger_stream(POOL)
    reached = 0
    for sequence in range(1, (await made.js.stream_info(stream)).state.last_seq + 1):
        headers = (await made.js.get_msg(stream, seq=sequence)).headers or {}
        if int(headers[FIRST]) != reached + 1:
            yield f"message {sequence} of the ledger begins at {headers[FIRST]}, after {reached}"
        reached = int(headers[LAST])


async def _differing(ground: Ground) -> list[str]:
    """Keys of the store that the ledger makes otherwise."""
    with StoreServer(ground.folder / "rebuilt", fsync="no", options={"appendonly": "no"}) as other:
        rebuilt = await rebuild_pool(ground.at.url, ground.nats.url, POOL, other.url, silent, origin="start")
    return rebuilt.differing


def silent(_what: str, _done: int, _total: int) -> None:
    """Shows nothing."""
