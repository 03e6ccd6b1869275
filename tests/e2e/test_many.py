"""Several processes of each kind on one pool, and one set of them on two stores: any of them dies, and the work goes on."""

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from atp.ledger import decode_entry
from cli.embedded import NatsServer, StoreServer
from tests.e2e.consuming import Engine, engine, stock, until
from tests.e2e.fleet import START_S, Fleet
from tests.e2e.market import Market, trading

pytestmark = pytest.mark.slow
_holds = itertools.count(1)


async def gives_back(quiet: Engine) -> None:
    """A hold in a pool where nobody else writes is given back once it is due: by a sweeper, then."""
    held = await quiet.reserve(f"due-{next(_holds)}", "A", 1, ttl_ms=1_000)
    assert held.status == "OK"

    async def true() -> bool:
        records = await quiet.store.ledger_after(quiet.pool, held.revision, 1)
        return [decode_entry(record.entry).verb for record in records] == ["expire"]

    await until(true, "the hold is given back")


def test_each_process_is_killed_in_turn_and_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet, market: Market, quiet: Engine) -> None:
        for member in fleet.of("feeds", "service", "relay"):
            member.kill()
            await market.goes_on()
            await member.restarted()
        for member in fleet.of("sweeper"):
            member.kill()
            await gives_back(quiet)
            await member.restarted()

    trading(tmp_path, scenario)


def test_a_frozen_service_is_left_out_and_its_calls_go_elsewhere(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet, market: Market, _: Engine) -> None:
        fleet["service-1"].freeze()
        await market.goes_on()
        await market.goes_on()
        fleet["service-1"].thaw()
        await market.goes_on()

    trading(tmp_path, scenario)


def test_relays_freeze_die_and_come_back_and_the_ledger_stays_one(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet, market: Market, _: Engine) -> None:
        for at_work, standby in itertools.permutations(fleet.of("relay")):
            standby.freeze()
            await market.goes_on()  # so now the other one is at work
            standby.thaw()
            at_work.freeze()
            await market.goes_on()
            at_work.thaw()  # it goes on where it stood, and learns that it has lost its place
            await market.goes_on()
        for member in fleet.of("relay"):
            member.kill()
        await market.goes_on(feeds=False, relay=False)  # a ledger that nobody carries holds nobody up
        for member in fleet.of("relay"):
            await member.restarted()
        await market.goes_on()

    trading(tmp_path, scenario)


def test_what_frozen_feed_consumers_have_in_hand_is_applied_by_another_and_once(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet, market: Market, _: Engine) -> None:
        *frozen, _at_work = fleet.of("feeds")
        for member in frozen:
            member.freeze()
        await market.goes_on()
        await market.caught_up()
        for member in frozen:
            member.thaw()
        await market.goes_on()

    trading(tmp_path, scenario)


def test_of_two_stores_one_dies_and_the_pools_of_the_other_go_on(tmp_path: Path) -> None:
    config = tmp_path / "atp.toml"

    async def run(north: StoreServer, south: StoreServer, nats: NatsServer, fleet: Fleet) -> None:
        async with engine("north", north, nats) as cold, engine("south", south, nats) as warm, engine("quiet", north, nats) as quiet:
            await fleet.started()
            await stock(quiet)
            markets = [Market(made, random.randrange(2**32)) for made in (cold, warm)]
            alive, hurt = markets
            async with alive.open(fleet.addresses, shoppers=5), hurt.open(fleet.addresses, shoppers=5, timeout_s=START_S):
                for market in markets:
                    await market.goes_on()
                south.kill()
                await alive.goes_on(feeds=False)
                await gives_back(quiet)
                await quiet.relayed()
                await alive.goes_on(feeds=False)
                south.start()
                for market in markets:
                    await market.goes_on()
            for market, store in zip(markets, (north, south), strict=True):
                assert market.book.failures == {}
                await market.audit(store.url, nats.url)
            assert fleet.troubles() == []

    with (
        StoreServer(tmp_path / "north") as north,
        StoreServer(tmp_path / "south") as south,
        NatsServer(tmp_path / "nats", sync_interval="10s") as nats,
        Fleet(tmp_path, north.url, nats.url, config) as fleet,
    ):
        config.write_text(f'[stores.south]\nurl = "{south.url}"\n\n[pools]\nsouth = "south"\n')
        fleet.add_services(2)
        fleet.add_consumers("all", 2)
        asyncio.run(run(north, south, nats, fleet))
