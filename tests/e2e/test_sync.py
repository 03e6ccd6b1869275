"""`atp sync` on real servers: the stock is what was counted and what came after it, however often and in how many runs it was brought."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atp import limits
from atp.errors import IntakeUnavailableError
from atp.events import Event
from atp.intake import Taken
from atp.model.verbs import ChannelConfig, NodeConfig, SourceConfig
from cli import exit_codes
from cli.embedded import NatsServer, StoreServer
from cli.verify import verify_pool
from consumers import sync
from consumers.counted import read
from consumers.intake import JetStreamIntake
from consumers.provision import apply_pool
from consumers.provision_file import PoolFile
from consumers.sync import Sync, Synced, Target
from tests.e2e import commands
from tests.e2e.commands import Ran
from tests.e2e.consuming import Engine, consuming, engine, items, receipt, until
from tests.e2e.reading import in_stream

PARTS = 3
SKUS = [f"SKU-{number}" for number in range((PARTS - 1) * limits.EVENT_LINES_MAX + 7)]
COUNTED = {sku: number % 50 + 100 for number, sku in enumerate(SKUS)}
NODES = [NodeConfig("N1", "store", "UTC", "wms"), NodeConfig("N2", "store", "UTC", "clock")]
SOURCES = [SourceConfig("wms", False), SourceConfig("clock", False, order="time"), SourceConfig("ids", False, order="id")]


class Bench:
    """A pool whose items are registered, and the command for it."""

    def __init__(self, made: Engine, store: StoreServer, nats: NatsServer, folder: Path) -> None:
        self.made = made
        self.file = folder / "count.csv"
        self.servers = ["--pool", made.pool, "--store-url", store.url, "--nats-url", nats.url]

    def write(self, units: dict[str, int]) -> None:
        self.file.write_text("sku,on_hand\n" + "".join(f"{sku},{quantity}\n" for sku, quantity in units.items()))

    async def sync(self, *words: str, what: str = "", node: str = "N1", source: str = "wms") -> Ran:
        return await asyncio.to_thread(
            commands.run, "sync", what or str(self.file), "--node", node, "--source", source, *words, *self.servers
        )

    async def synced(self, *words: str, **others: str) -> dict[str, Any]:
        """What a run that did all of it says."""
        ran = await self.sync(*words, "--json", **others)
        assert ran.code == exit_codes.OK, ran.error + ran.said
        found: dict[str, Any] = ran.json
        return found

    async def on_hand(self, node: str = "N1") -> dict[str, int]:
        return {sku: (await self.made.row(sku, node)).on_hand for sku in SKUS}


@contextlib.asynccontextmanager
async def bench(
    pool: str, store: StoreServer, nats: NatsServer, folder: Path, *, skus: list[str] | None = None, role: str = "all"
) -> AsyncIterator[Bench]:
    async with engine(pool, store, nats) as made:
        await apply_pool(made.store, PoolFile(pool, NODES, [ChannelConfig("web", ["N1", "N2"])], SOURCES))
        async with consuming(role, made, store, nats):
            found = Bench(made, store, nats, folder)
            await made.send(items(1, *(SKUS if skus is None else skus), "GONE"))
            await made.send(receipt(1, {"GONE": 6}))
            if role == "all":
                await made.has("GONE", 6)
            yield found


def test_the_stock_is_what_was_counted_and_what_came_after_while_others_sell_and_receive(
    store_server: StoreServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    async def story() -> None:
        async with bench(f"sync-live-{store_server.kind}", store_server, nats_server, tmp_path) as it:
            it.write(COUNTED)
            later: Counter[str] = Counter()
            held: Counter[str] = Counter()
            stop, chance = asyncio.Event(), random.Random(4)

            async def work() -> None:
                sequence = 10
                while not stop.is_set():
                    sequence += 1
                    sku = chance.choice(SKUS)
                    await it.made.send(receipt(sequence, {sku: 2}))
                    later[sku] += 2
                    wanted = chance.choice(SKUS)
                    if (await it.made.reserve(f"r{sequence}", wanted, 1)).status == "OK":
                        held[wanted] += 1

            working = asyncio.create_task(work())
            await until(lambda: asyncio.sleep(0, sum(later.values()) > 20), "others are at work")
            said = await it.synced("--sequence", "10")
            stop.set()
            await working
            assert (said["lines"], said["parts"], said["sent"], said["missing"]) == (len(SKUS), PARTS, PARTS, [])
            await until(lambda: settled(it.made), "all that was sent is applied")
            assert await it.on_hand() == {sku: units + later[sku] for sku, units in COUNTED.items()}
            assert (await it.made.row("GONE")).on_hand == 0, "nobody counted any of it"
            assert {sku: (await it.made.row(sku)).reserved for sku in held} == held
            assert held, "some were sold meanwhile"
            await it.made.relayed()
            report = await asyncio.to_thread(verified, store_server, nats_server, it.made.pool)
            assert report == []

    asyncio.run(story())


def verified(store: StoreServer, nats: NatsServer, pool: str) -> list[Any]:
    return list(asyncio.run(verify_pool(store.url, nats.url, pool)).violations)


async def settled(made: Engine) -> bool:
    durable = await made.js.consumer_info("INVENTORY", f"feeds-{made.pool}")
    return not durable.num_pending and not durable.num_ack_pending


class Breaking(JetStreamIntake):
    """Takes so many events, and then none."""

    def __init__(self, made: Engine, left: int) -> None:
        super().__init__(made.connection)
        self._left = left

    async def take(self, pool: str, event: Event) -> Taken:
        self._left -= 1
        if self._left < 0:
            raise IntakeUnavailableError("cut off")
        return await super().take(pool, event)


def test_a_run_that_was_cut_off_goes_on_with_what_is_not_there_and_a_third_has_nothing_to_do(
    valkey: StoreServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    async def story() -> None:
        async with bench("sync-cut", valkey, nats_server, tmp_path) as it:
            it.write(COUNTED)
            target = Target(it.made.pool, "N1", "wms", datetime.fromtimestamp(it.file.stat().st_mtime, UTC), True, 2)
            with it.file.open("rb") as file:
                lines = read(file)

            async def run(at_most: int) -> Synced:
                work = Sync(it.made.store, it.made.js, Breaking(it.made, at_most), target, lines, lambda *_: None)
                return await work.run(wait=True, began_s=0)

            with pytest.raises(IntakeUnavailableError):
                await run(1)
            await it.made.has(SKUS[0], COUNTED[SKUS[0]])
            said = await run(PARTS - 1)
            assert (said.there, said.sent) == (1, PARTS - 1)
            assert await it.on_hand() == COUNTED
            before = (await it.made.store.pool_info(it.made.pool)).revision
            said = await run(0)
            assert (said.there, said.sent) == (PARTS, 0)
            assert (await it.synced("--sequence", "2"))["there"] == PARTS, "the command makes the same events of the file"
            assert (await it.made.store.pool_info(it.made.pool)).revision == before

    asyncio.run(story())


def test_a_subject_is_read_to_its_end_and_a_partial_count_of_it_leaves_the_rest_alone(
    valkey: StoreServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    async def story() -> None:
        async with bench("sync-subject", valkey, nats_server, tmp_path) as it:
            await it.made.js.add_stream(name="COUNTS", subjects=["counts.>"])
            lines = [json.dumps({"sku": sku, "on_hand": units}) for sku, units in COUNTED.items()]
            for start in range(0, len(lines), 100):
                await it.made.js.publish("counts.n2", "\n".join(lines[start : start + 100]).encode())
            await it.made.send(receipt(1, {"GONE": 3}, "N2", "clock"))
            await it.made.has("GONE", 3, "N2")
            where = {"what": "nats:counts.n2", "node": "N2", "source": "clock"}
            said = await it.synced("--partial", **where)
            assert (said["lines"], said["sent"], said["there"]) == (len(SKUS), PARTS, 0)
            assert await it.on_hand("N2") == COUNTED
            assert (await it.made.row("GONE", "N2")).on_hand == 3
            assert (await it.synced("--partial", **where))["there"] == PARTS
            await it.made.js.publish("counts.n2", b'{"sku": "SKU-X", "on_hand": 1}\n{"sku": "SKU-Y", "on_hand": "many"}')
            ran = await it.sync("--partial", **where)
            assert (ran.code, "message 6, line 2: Expected `int`, got `str`" in ran.error) == (exit_codes.USAGE, True), ran.error

    asyncio.run(story())


def test_a_part_that_waits_for_an_item_is_told_and_in_the_store_once_the_item_is_known(
    valkey: StoreServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    async def story() -> None:
        async with bench("sync-wait", valkey, nats_server, tmp_path, skus=SKUS[:-1]) as it:
            it.write(COUNTED)
            ran = await it.sync("--sequence", "2", "--json")
            assert ran.code == exit_codes.REFUSED
            assert [one["part"] for one in ran.json["missing"]] == [PARTS]
            assert (await it.made.row("GONE")).on_hand == 6, "who knows what the last part says of it"

            async def is_told() -> bool:
                [missing] = (await it.sync("--sequence", "2", "--json")).json["missing"]
                return bool(missing["reason"] == "UNKNOWN_SKU" and SKUS[-1] in missing["sentence"])

            await until(is_told, "the exception has come")
            await it.made.send(items(2, SKUS[-1]))
            await it.made.has("GONE", 0)

            async def is_whole() -> bool:
                return (await it.sync("--sequence", "2", "--json")).code == exit_codes.OK

            await until(is_whole, "what was left out was looked for once more")
            assert (await it.synced("--sequence", "2"))["there"] == PARTS
            assert await it.on_hand() == COUNTED

    asyncio.run(story())


@pytest.fixture(scope="module")
def idle(valkey: StoreServer, nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A pool whose feeds nobody applies."""
    folder = tmp_path_factory.mktemp("sync")

    async def prepare() -> Bench:
        async with bench("sync-idle", valkey, nats_server, folder, role="relay") as it:
            return it

    return asyncio.run(prepare())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--node", "N1", "--source", "wms"], exit_codes.USAGE, "its count has a place among them (--sequence N)"),
        (["--node", "N1", "--source", "clock", "--sequence", "3"], exit_codes.USAGE, "must not be said"),
        (["--node", "N1", "--source", "ids"], exit_codes.REFUSED, "provisioned with the order id"),
        (["--node", "N9", "--source", "wms", "--sequence", "3"], exit_codes.REFUSED, "has no node N9: there are N1, N2"),
        (["--node", "N1", "--source", "who", "--sequence", "3"], exit_codes.REFUSED, "has no source who: there are clock, erp, ids"),
        (["--node", "N1", "--source", "clock", "--as-of", "2099-01-01T00:00:00Z"], exit_codes.USAGE, "lies in the future"),
    ],
)
def test_what_cannot_be_placed_is_refused_before_anything_is_sent(
    idle: Bench, nats_server: NatsServer, words: list[str], code: int, said: str
) -> None:
    idle.write({"A": 1})
    ran = commands.run("sync", str(idle.file), *words, *idle.servers)
    assert (ran.code, said in ran.error) == (code, True), ran.error
    assert not asyncio.run(snapshots(nats_server, idle.made.pool))


async def snapshots(nats_server: NatsServer, pool: str) -> list[Event]:
    return [one for one in await in_stream(nats_server, pool) if type(one).__name__ == "Snapshot"]


def test_all_bad_lines_are_told_at_once_and_nothing_is_sent(idle: Bench, nats_server: NatsServer) -> None:
    idle.file.write_text("sku,on_hand\nA,1\nB,x\nA,2\n" + "C D,1\n" * 30)
    ran = asyncio.run(idle.sync("--sequence", "3"))
    assert ran.code == exit_codes.USAGE
    assert "line 3: Expected `int`" in ran.error
    assert "line 4: SKU A stands in line 2 already" in ran.error
    assert "line 5: sku must be" in ran.error
    assert "and 12 more" in ran.error
    assert not asyncio.run(snapshots(nats_server, idle.made.pool))


def test_where_nobody_applies_it_says_so_and_a_run_that_does_not_wait_ends(
    idle: Bench, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "STALLED_S", 0.3)
    idle.write({"A": 1})
    ran = asyncio.run(idle.sync("--sequence", "3"))
    assert (ran.code, "is the role feeds running" in ran.error) == (exit_codes.UNREACHABLE, True), ran.error
    said = asyncio.run(idle.synced("--sequence", "3", "--no-wait"))
    assert (said["waited"], said["sent"], said["there"]) == (False, 1, 0), "it is not in the store yet"
    first, again = asyncio.run(snapshots(nats_server, idle.made.pool))
    assert first == again


def test_another_count_in_the_same_place_is_refused_and_an_older_one_too(
    valkey: StoreServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    async def story() -> None:
        async with bench("sync-other", valkey, nats_server, tmp_path) as it:
            it.write(COUNTED)
            await it.synced("--sequence", "5")
            it.write({**COUNTED, SKUS[0]: 1})
            for sequence, why in (("5", "another snapshot of wms at N1 has the same place"), ("4", "a later full snapshot of wms at N1")):
                ran = await it.sync("--sequence", sequence)
                assert (ran.code, why in ran.error) == (exit_codes.REFUSED, True), ran.error
            await it.synced("--sequence", "6")
            assert await it.on_hand() == {**COUNTED, SKUS[0]: 1}

    asyncio.run(story())
