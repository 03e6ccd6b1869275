"""The law of the feeds: however a story is heard, late, twice, out of order, the stock is the same in the end, never more than there is.

What does not depend on the order, and is equal to what truly is: on hand, damaged, quality hold, in transit, what is open of each order,
held or confirmed, what is picked of it, shipped unbooked (nothing, once both accounts of each shipment are heard), and what others say,
kept for comparison. What does: which exceptions were raised on the way, and the moment that a comparison speaks of.

On the way no more is promised than there is, and what has happened and is not heard of yet would take. Nothing stronger holds: a sale that
nobody tells of is promised again; an order that let go of all its units has let go of those, too, whose shipment is heard of later; a
count contains units that were put back while word of that is still to come; and one of on hand alone a broken return whose state comes with
the event itself.

The shop's tills have ids only, and make no snapshots here: what has no place is believed as of its arrival.
"""

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st

from atp import events
from atp.model.pool import ModelLimits, Pool
from atp.model.status import ExceptionReason
from atp.model.stock import StockRow
from atp.store import Store
from cli.embedded import NatsServer, StoreServer
from consumers.connection import connect
from consumers.metrics import APPLIED, DUPLICATE
from consumers.provision import apply_streams
from tests.pair import stored_layout
from tests.stateful.hearing import Heard, Hearing, in_order, late_and_twice, listen, script
from tests.stateful.story import POOL, WORLD, Place, Story, stories

#: A story is not made shorter once it fails: that takes minutes, and it says step by step what was heard.
law = settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
#: What is told of an order that let go of units, or whose units were put back, before all was heard of it, and of one whose shipment came
#: before its confirmation.
WITHOUT_ALLOCATION = {ExceptionReason.PICK_WITHOUT_ALLOCATION, ExceptionReason.SHIPMENT_WITHOUT_ALLOCATION}
TOLD_OF_ORDERS = {*WITHOUT_ALLOCATION, ExceptionReason.SHIPMENT_UNCONFIRMED}
BELOW = ExceptionReason.SEQUENCE_BELOW_WINDOW


def rows(pool: Pool) -> dict[Place, StockRow]:
    """Rows that say something, without their revisions."""
    plain = {place: msgspec.structs.replace(row, revision=0) for place, row in pool.rows.items()}
    return {place: row for place, row in plain.items() if row != StockRow()}


def compared(pool: Pool) -> dict[Any, tuple[int, int, int]]:
    """What other sources say, where it is anything."""
    figures = {name: (said.on_hand, said.damaged, said.quality_hold) for name, said in pool.compared.items()}
    return {name: said for name, said in figures.items() if any(said)}


def states(pool: Pool) -> dict[str, int]:
    return {sku: item.state for sku, item in pool.items.items()} | {node: place.state for node, place in pool.locations.items()}


def standing(pool: Pool) -> dict[str, str]:
    """The reason of each exception that is open."""
    raised = {one.id: one for entry in pool.entries for one in entry.exceptions}
    return {key: one.reason for key, one in raised.items() if one.state == "open"}


def assert_nothing_is_lost(world: Heard, refusals: frozenset[str] = frozenset()) -> None:
    """Each event was applied, or was known or contained in a later word; or it is refused, and told."""
    ear, told = world.ear, {one.event_id for one in world.story.told if one.event_id}
    assert set(ear.verdicts) == told
    assert set(ear.verdicts.values()) <= {APPLIED, DUPLICATE, *refusals}
    assert {key for key, verdict in ear.verdicts.items() if verdict in refusals} <= set(ear.refused)
    assert not any(world.store.model.waiting.values())


def assert_is_true(world: Heard) -> None:
    """The stock is what the story left, and what stands to be told is what was odd about it."""
    story, pool = world.story, world.store.model
    assert_nothing_is_lost(world)
    assert world.ear.refused == {}
    assert rows(pool) == {place: row for place, row in story.truth().items() if row != StockRow()}
    told = standing(pool)
    too_few = {f"over:{node}:{sku}" for (sku, node), row in pool.rows.items() if row.uncommitted() < 0}
    assert {key for key, reason in told.items() if reason == ExceptionReason.OVERCOMMITTED} == too_few
    short = {one.event_id for one in story.told if one.event_id.startswith("pick_short")}
    assert {key.rpartition("/")[2] for key, reason in told.items() if reason == ExceptionReason.PICK_SHORT} == short
    assert set(told.values()) <= {ExceptionReason.OVERCOMMITTED, ExceptionReason.PICK_SHORT, *TOLD_OF_ORDERS}
    if not any(order.loosened or order.put_back for order in story.orders.values()):
        assert not set(told.values()) & WITHOUT_ALLOCATION


@law
@given(st.data())
def test_a_story_heard_late_twice_and_out_of_order_ends_as_it_truly_was(data: st.DataObject) -> None:
    story = data.draw(stories())
    heard = late_and_twice(data.draw, story)
    note(script(heard))
    worlds = [asyncio.run(listen(story, in_order(story))), asyncio.run(listen(story, heard))]
    for world in worlds:
        assert_is_true(world)
    one, other = (world.store.model for world in worlds)
    assert compared(one) == compared(other)
    assert states(one) == states(other)


@law
@given(st.data())
def test_what_comes_too_late_is_told_and_never_guessed_and_a_count_brings_it_right(data: st.DataObject) -> None:
    """The window has room for one change. What an event could not say of its order stays promised to it: less is promised, never more."""
    story = data.draw(stories())
    heard = late_and_twice(data.draw, story)
    story.now_ms = max(at_ms for at_ms, _ in heard) + 1
    heard += [(told.at_ms, told) for told in story.count_everything()]
    note(script(heard))
    world = asyncio.run(listen(story, heard, bounds=ModelLimits(window_deltas_max=1)))
    assert_nothing_is_lost(world, frozenset({BELOW}))
    assert set(world.ear.refused.values()) <= {BELOW}
    for (sku, node), truly in story.truth().items():
        row = world.store.model.row(sku, node)
        assert (row.on_hand, row.damaged, row.quality_hold) == (truly.on_hand, truly.damaged, truly.quality_hold)
        assert row.uncommitted() <= truly.uncommitted()


@pytest.mark.parametrize("kind", sorted(events.TYPES))
def test_stories_tell_of_every_kind_of_event(kind: str) -> None:
    def tells(story: Story) -> bool:
        return any(told.subject.endswith(f".{kind}") for told in story.told)

    find(stories(), tells, settings=settings(law, phases=[Phase.generate], database=None, max_examples=500))


def test_the_law_holds_in_a_real_store_with_real_streams(store_server: StoreServer, nats_server: NatsServer) -> None:
    """The same story, side by side: the stock is what the model says. (What waited for one item is applied in any order.)"""

    @settings(law, max_examples=15)
    @given(st.data())
    def side_by_side(data: st.DataObject) -> None:
        story = data.draw(stories())
        heard = late_and_twice(data.draw, story)
        modelled = asyncio.run(listen(story, heard))
        asyncio.run(in_a_store(story, heard, modelled, store_server, nats_server))

    side_by_side()


#: Where values of a key have the revision that wrote them.
REVISION_AT = {"stk": 6, "cmp": 4}


def without_revisions(layout: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the keys say: of items their states, of reservations their states and lines."""
    found: dict[str, dict[str, Any]] = {}
    for key, content in layout.items():
        kind = key.partition(":")[0]
        if kind in REVISION_AT:
            at = REVISION_AT[kind]
            said = {name: [*value[:at], *value[at + 1 :]] for name, value in content.items() if name != "@"}
            found[key] = said | {"@": content["@"][4:5]} if "@" in content else said
        elif kind == "rsv":
            found[key] = {name: value for name, value in content.items() if name == "state" or name.isdigit()}
        elif kind in {"unb", "trf", "syn", "wait", "exp", "evt"}:
            found[key] = content
    return found


class OneStore:
    """A real store under the clock of a story."""

    def __init__(self, url: str) -> None:
        self.now_ms = 0
        self.store = Store(url, clock=lambda: self.now_ms)

    def of(self, _pool: str) -> Store:
        return self.store


async def in_a_store(story: Story, heard: Hearing, modelled: Heard, store_server: StoreServer, nats_server: NatsServer) -> None:
    with redis.Redis.from_url(store_server.url) as server:
        server.flushall()
    one = OneStore(store_server.url)
    connection = await connect(nats_server.url, "test")
    await one.store.start()
    try:
        await apply_streams(connection.jetstream(), POOL)
        await one.store.open(POOL, 0, 0)
        await one.store.write(POOL, WORLD)
        world = Heard(story, one, connection.jetstream())
        for one.now_ms, some in itertools.groupby(heard, key=lambda moment: moment[0]):
            await world.hear(told for _, told in some)
        assert (world.left, world.ear.refused, world.answers) == ({}, {}, modelled.answers)
        assert set(world.ear.verdicts) == set(modelled.ear.verdicts)
        assert without_revisions(await stored_layout(one.store, POOL)) == without_revisions(modelled.store.model.layout())
    finally:
        await one.store.close()
        await connection.close()
