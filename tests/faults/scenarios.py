"""The faults: each breaks one thing under a life that goes on."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import pytest
import redis
from redis.asyncio import Redis

from atp.errors import StoreUnavailableError
from atp.model.status import ExceptionReason
from atp.store import Store
from atp.store.observed import StoreObserved
from atp.store.scripts import load
from cli.embedded import HOST, StoreServer, free_port
from cli.rebuilding import rebuild_pool
from consumers.checkpoint_taker import take
from consumers.ledger_writer import last_position
from tests.e2e.consuming import consuming, until
from tests.faults.ground import ACK_WAIT_S, Dying, Fault, Ground, silent
from tests.faults.life import DEADLINE_S, NODES, POOL, SKUS, hold
from tests.faults.proxy import Proxy
from tests.lua.scenario import play as play_table
from tests.lua.scenarios import ALL

AWAY_S: Final = 1.5  # how long a server stays away
CUT: Final = 0.03  # of the replies
CUT_S, FLUSH_S = 4.0, 4.0
BEHIND_S: Final = 2.0  # how long a replica is cut off before it takes over
MAX_LAG_S: Final = 2  # how long a primary goes on without a word of its replica, and a second more
DEATHS: Final = 2  # at each step
SLOTS: Final = 16_384


# --- servers that die -------------------------------------------------------------------------------------------------
async def _killed(ground: Ground, *servers: Any) -> None:
    for server in servers:
        server.kill()
    ground.life.broke()
    await asyncio.sleep(AWAY_S)
    for server in servers:
        server.start()


async def store_killed(ground: Ground) -> None:
    await _killed(ground, ground.store)


async def broker_killed(ground: Ground) -> None:
    await _killed(ground, ground.nats)


async def both_killed(ground: Ground) -> None:
    await _killed(ground, ground.store, ground.nats)


# --- consumers that die or stand still --------------------------------------------------------------------------------
async def relay_killed(ground: Ground) -> None:
    """Right after JetStream has a batch, and right before the store is told so."""
    await _replaced(ground, "relay", "published", "told")


async def feed_killed(ground: Ground) -> None:
    """With events in hand: some of them are in the store and not acked, others have not been looked at."""
    before = await ground.life.redelivered()
    await _replaced(ground, "feeds", "applied")
    await _delivered_again(ground, before)


async def _replaced(ground: Ground, role: str, *steps: str) -> None:
    """One that dies at each step, as often as that, takes the place of the one that works."""
    chance = ground.chance
    ground.fleet[f"{role}-1"].kill()
    ground.life.broke()
    for step in steps:
        for death in range(DEATHS):
            dying = Dying(f"dying-{step}-{death}", role, step, chance.randint(3, 12), ground)
            dying.start()
            try:
                await dying.died()
            finally:
                dying.kill()
            ground.life.broke()
            ground.notes["deaths"] += 1
    await ground.fleet[f"{role}-1"].restarted()


async def consumer_frozen(ground: Ground) -> None:
    """For longer than JetStream waits for acks: another gets what it has in hand, and then it wakes up and goes on with it."""
    before = await ground.life.redelivered()
    ground.fleet["all-1"].freeze()
    ground.life.broke()
    await _delivered_again(ground, before)
    await asyncio.sleep(ACK_WAIT_S)
    ground.fleet["all-1"].thaw()


async def _delivered_again(ground: Ground, before: int) -> None:
    async def true() -> bool:
        return await ground.life.redelivered() > before

    await until(true, "events are delivered again", DEADLINE_S)


# --- between the engine and its store ---------------------------------------------------------------------------------
async def replies_lost(ground: Ground) -> None:
    """The script has run, and nobody learns what it answered."""
    ground.life.broke()
    ground.proxy.cut = CUT
    await asyncio.sleep(CUT_S)
    ground.proxy.cut = 0.0
    assert ground.proxy.cut_off > 0, "no reply was cut off"
    ground.notes["replies cut off"] = ground.proxy.cut_off


async def scripts_flushed(ground: Ground) -> None:
    ground.life.broke()
    async with Redis(host=HOST, port=ground.store.port, protocol=2) as server, asyncio.timeout(DEADLINE_S):
        ends = asyncio.get_running_loop().time() + FLUSH_S
        while asyncio.get_running_loop().time() < ends:
            await server.script_flush()
            ground.notes["script caches emptied"] += 1
            await asyncio.sleep(0.002)


async def older_replica(ground: Ground) -> None:
    """A primary is replaced by a replica that was cut off from it before, and goes on by itself where nobody should hear it.

    JetStream has all when it happens: what neither it nor the replica has is lost with a primary (docs/operations.md).
    """
    life, primary = ground.life, ground.store
    replica = ground.stack.enter_context(StoreServer(ground.folder / "replica"))
    with redis.Redis(host=HOST, port=replica.port, protocol=2) as server:
        life.broke()
        server.replicaof(HOST, primary.port)
        await _in_step(server)
        await life.goes_on()
        server.replicaof(HOST, free_port())  # nobody is there
        await asyncio.sleep(BEHIND_S)
        await life.holds_its_breath()
        before = await ground.made.store.pool_info(POOL)
        server.replicaof("NO", "ONE")
        ground.notes["entries that the replica lacked"] = before.revision - int(server.hget(f"{{{POOL}}}:pool", "rev"))
    assert ground.notes["entries that the replica lacked"] > 0
    ground.proxy.lead_to(replica.port)
    life.broke()
    life.goes()
    await life.goes_on()
    assert (await ground.made.store.pool_info(POOL)).epoch > before.epoch, "the pool was not opened anew"
    await _unheard(ground, primary)


async def primary_cut_off(ground: Ground) -> None:
    """A primary whose replica falls silent stops to take writes by itself, and the replica, which lacks the last of them, takes over.

    The relay still reaches the old primary: it carries what was taken there, and so the new one gets it from JetStream.
    """
    life, primary = ground.life, ground.store
    link = Proxy(primary.port, ground.chance)
    replica = ground.stack.enter_context(StoreServer(ground.folder / "replica"))
    with redis.Redis(host=HOST, port=replica.port, protocol=2) as server, redis.Redis(host=HOST, port=primary.port, protocol=2) as before:
        async with link.serving(), _connected(primary) as old:
            server.replicaof(HOST, link.port)
            await _in_step(server)
            before.config_set("min-replicas-max-lag", MAX_LAG_S)
            before.config_set("min-replicas-to-write", 1)
            await life.goes_on()
            opened = await old.pool_info(POOL)
            link.fall_silent()
            await _without_replica(before)
            life.broke()
            last = await _refuses(old)
            ground.notes["entries that the replica lacked"] = last - int(server.hget(f"{{{POOL}}}:pool", "rev"))
            assert ground.notes["entries that the replica lacked"] > 0
            await _carried(ground, last)
            server.replicaof("NO", "ONE")
            ground.proxy.lead_to(replica.port)
            await life.goes_on()
            assert (await ground.made.store.pool_info(POOL)).epoch > opened.epoch, "the pool was not opened anew"
            assert await _refuses(old) == last, "the old primary was written to"


@asynccontextmanager
async def _connected(server: StoreServer) -> AsyncIterator[Store]:
    store = await Store.connect(server.url)
    try:
        yield store
    finally:
        await store.close()


async def _without_replica(server: "redis.Redis") -> None:
    async def true() -> bool:
        return int(server.info("replication")["min_slaves_good_slaves"]) == 0

    await until(true, "the primary misses its replica", DEADLINE_S)


async def _refuses(store: Store) -> int:
    """The revision at which a store stands that answers reads and refuses writes."""
    with pytest.raises(StoreUnavailableError, match="NOREPLICAS"):
        await store.write(POOL, hold("refused", NODES[0], {SKUS[0]: 1}))
    await store.availability(POOL, "web", [], list(SKUS))
    return (await store.pool_info(POOL)).revision


async def _carried(ground: Ground, revision: int) -> None:
    async def true() -> bool:
        return (await last_position(ground.made.js, POOL)).revision == revision

    await until(true, "JetStream has what the primary took", DEADLINE_S)


async def _in_step(server: "redis.Redis") -> None:
    async def true() -> bool:
        return bool(server.info("replication")["master_link_status"] == "up")

    await until(true, "the replica has all that the primary has", DEADLINE_S)


async def _unheard(ground: Ground, primary: StoreServer) -> None:
    """What the old primary is still told reaches nobody: the relay that works on it is refused, and says so."""
    old = await Store.connect(primary.url)
    try:
        answer = await old.write(POOL, hold("unheard", NODES[0], {SKUS[0]: 1}))
        ground.notes[f"answered {answer.status} by the old primary, which nobody hears"] += 1
        async with consuming("relay", ground.made, primary, ground.nats):
            await ground.made.exception(ExceptionReason.SPLIT_HISTORY)
        ground.life.journal.refused[f"the old primary: {ExceptionReason.SPLIT_HISTORY}"] += 1
    finally:
        await old.close()
    for member in ground.fleet.of("all"):
        member.kill()
        await member.restarted()
    await ground.made.exception(ExceptionReason.SPLIT_HISTORY, "resolved")


def synced_at_once() -> dict[str, str]:
    return {"repl-diskless-sync-delay": "0"}


# --- servers of another kind ------------------------------------------------------------------------------------------
def clustered() -> dict[str, str]:
    """A cluster of one."""
    return {"cluster-enabled": "yes", "cluster-port": str(free_port()), "cluster-require-full-coverage": "yes"}


def owns_all_slots(store: StoreServer) -> None:
    with redis.Redis(host=HOST, port=store.port, protocol=2) as server:
        server.cluster("addslotsrange", 0, SLOTS - 1)
        deadline = time.monotonic() + DEADLINE_S
        while server.cluster("info")["cluster_state"] != "ok":
            assert time.monotonic() < deadline, "the cluster does not come up"
            time.sleep(0.05)


async def cluster_of_one(ground: Ground) -> None:
    """Every script runs, each table of verbs comes out as it should, and the keys of a pool are in one slot."""
    with _scripts_that_run() as ran:
        await ground.life.holds_its_breath()
        for steps, bounds in ALL.values():
            await play_table(ground.store.url, steps, bounds)
        ground.life.goes()
        await ground.life.goes_on()
        await take(ground.made.js, ground.made.store, POOL)
        with StoreServer(ground.folder / "loaded", kind=ground.store.kind, options=clustered()) as other:
            owns_all_slots(other)
            rebuilt = await rebuild_pool(ground.store.url, ground.nats.url, POOL, other.url, silent)
        assert rebuilt.equal, rebuilt.differing
        assert rebuilt.checkpoint, "it was rebuilt from the first entry on"
        await _asked(ground.made.store)
        ground.life.broke()
        await ground.life.goes_on()
    assert not load().keys() - ran.keys(), f"never run: {sorted(load().keys() - ran.keys())}"
    ground.notes["scripts that ran"] = len(ran)
    with redis.Redis(host=HOST, port=ground.store.port, protocol=2) as server:
        slots = {(key[: key.index(b"}")], server.cluster("keyslot", key)) for key in server.scan_iter(count=1_000)}
    pools = {pool for pool, _ in slots}
    assert len(slots) == len(pools), "a pool's keys are in several slots"
    ground.notes["pools, each in a slot of its own"] = len(pools)


async def _asked(store: Store) -> None:
    """What the life itself does not ask for; a pool that is closed is opened again by the relay."""
    await store.availability(POOL, "web", [], list(SKUS))
    await store.explain(POOL, SKUS[0], NODES[0])
    await store.open_reservations(POOL, 0, 10)
    await store.left_out(POOL, NODES[0], "wms", 1, list(SKUS))
    await store.close_pool(POOL, (await store.pool_info(POOL)).epoch)


@contextmanager
def _scripts_that_run() -> Iterator[Counter[str]]:
    """How often each script was answered, in this process."""
    ran: Counter[str] = Counter()
    real = StoreObserved.replied

    def replied(self: StoreObserved, script: str, seconds: float) -> None:
        ran[script] += 1
        real(self, script, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoreObserved, "replied", replied)
        yield ran


_APART: Final = {"relay": 1, "feeds": 1, "sweeper": 1}
_WITHIN: Final[dict[str, int]] = {}

FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("store killed", store_killed),
        Fault("broker killed", broker_killed),
        Fault("store and broker killed", both_killed),
        Fault("relay killed at its steps", relay_killed, _APART),
        Fault("consumer stands still", consumer_frozen),
        Fault("feed killed with events in hand", feed_killed, _APART),
        Fault("replies cut off", replies_lost, is_proxied=True),
        Fault("scripts flushed", scripts_flushed),
        Fault("older replica takes over", older_replica, is_proxied=True, options=synced_at_once),
        Fault("primary cut off", primary_cut_off, is_proxied=True, options=synced_at_once),
        Fault("cluster of one", cluster_of_one, _WITHIN, options=clustered, prepare=owns_all_slots),
        Fault("cluster of one, Redis 7", cluster_of_one, _WITHIN, kind="redis", options=clustered, prepare=owns_all_slots),
    )
}
