"""How a story comes to be heard: late, twice, out of order; settled by the consumers' own code, on the model or on a real store."""

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from atp.canonical import ContentError
from atp.model.pool import ModelLimits, Pool, Write
from atp.model.status import OPEN_STATES
from atp.model.verbs import ALL_FIGURES, Result
from consumers.heard import Settled
from consumers.message import Message
from consumers.metrics import APPLIED, DUPLICATE, FeedMetrics
from consumers.settle import StoreSettler
from tests.stateful.story import POOL, STEP_MS, WORLD, Draw, Place, Story, Told

RUN = "run"
#: When each thing is heard.
Hearing = list[tuple[int, Told]]


class ModelStore:
    """The model, asked as the consumers ask a store."""

    def __init__(self, bounds: ModelLimits | None = None) -> None:
        self.model = Pool(bounds) if bounds else Pool()
        self.now_ms = 0
        self.model.open(RUN, 0, 0, self.now_ms)

    def of(self, _pool: str) -> "ModelStore":
        return self

    async def write(self, _pool: str, request: Write) -> Result:
        result = self.model.apply(request, self.now_ms, RUN)
        while result.status == "REAP_MORE":
            result = self.model.apply(request, self.now_ms, RUN)
        return result

    async def write_all(self, pool: str, requests: Sequence[Write]) -> list[Result]:
        return [await self.write(pool, request) for request in requests]

    async def read_keys(self, _pool: str, names: list[str]) -> tuple[int, dict[str, dict[bytes, bytes]]]:
        layout = self.model.layout()
        return self.model.revision, {name: _stored(name, layout[name]) for name in names if name in layout}

    async def waiting(self, _pool: str, name: str) -> AsyncIterator[dict[str, str]]:
        yield dict(self.model.waiting.get(name, {}))

    async def parked(self, _pool: str, name: str, key: str) -> str | None:
        return self.model.waiting.get(name, {}).get(key)

    async def left_out(self, _pool: str, node: str, source: str, place: int, skus: list[str]) -> list[str]:
        layout, field = self.model.layout(), f"{node} {source}"

        def is_left_out(sku: str) -> bool:
            if window := layout.get(f"win:{sku}", {}).get(field):
                sequences, masks = window[2][::3], window[2][2::3]
                return sum(mask for sequence, mask in zip(sequences, masks, strict=True) if sequence >= place) != ALL_FIGURES
            return any(layout.get(f"stk:{sku}", {}).get(node, [])[:3]) or field in layout.get(f"cmp:{sku}", {})

        return [sku for sku in skus if is_left_out(sku)]

    async def scan_skus(self, _pool: str, _at_most: int) -> AsyncIterator[list[str]]:
        yield sorted({*self.model.items, *(sku for sku, _ in self.model.rows)})


def _stored(name: str, content: dict[str, Any]) -> dict[bytes, bytes]:
    def value(said: Any) -> bytes:
        return said.encode() if isinstance(said, str) else msgspec.msgpack.encode(said)

    return {field.encode(): value(said) for field, said in content.items()}


class Ear(StoreSettler):
    """Settles as the role `feeds` does, and keeps what became of each event. Without JetStream nobody is told of exceptions."""

    def __init__(self, js: Any, stores: Any) -> None:
        super().__init__(js, stores, FeedMetrics(CollectorRegistry()))
        self.verdicts: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.tells = js is not None

    async def settle_all(self, messages: list[Message]) -> list[Settled | Exception]:
        found = await super().settle_all(messages)
        for settled in found:
            assert isinstance(settled, Settled), settled
            self._note(settled)
        return found

    async def settle(self, message: Message) -> Settled:
        settled = await super().settle(message)
        self._note(settled)  # of what had waited nobody else is told
        return settled

    def _note(self, settled: Settled) -> None:
        if settled.event is not None and self.verdicts.get(settled.event.id) != APPLIED and not self._waits(settled):
            self.verdicts[settled.event.id] = settled.verdict

    @staticmethod
    def _waits(settled: Settled) -> bool:
        return settled.verdict == DUPLICATE and bool(settled.waits_as)

    async def _publish(self, message: Message, verdict: ContentError) -> Settled:
        assert verdict.event is not None, verdict
        self.refused[verdict.event.id] = str(verdict.reason)
        return await super()._publish(message, verdict) if self.tells else Settled(verdict.reason, verdict.event)


class Heard:
    """A pool in which a story is heard. `at_ms` is the clock of its store."""

    def __init__(self, story: Story, store: Any, js: Any = None) -> None:
        self.story = story
        self.store = store
        self.ear = Ear(js, store)
        self.left = {told.event_id: told for told in story.told if told.event_id}
        self.answers: list[str] = []

    async def hear(self, some: Iterable[Told]) -> None:
        """What comes in one moment: events that come after one another at once, as a worker takes them."""
        for command, told in itertools.groupby(some, key=lambda one: one.command):
            if command is None:
                await self.ear.settle_all([Message(one.event_id, one.subject, one.data, 0.0) for one in told])
            else:
                self.answers += [(await self.store.of(POOL).write(POOL, command)).status for _ in told]
        self.left = {key: one for key, one in self.left.items() if self.ear.verdicts.get(key) not in {APPLIED, DUPLICATE}}

    def may_still_take(self, now_ms: int) -> dict[Place, int]:
        """What has happened and is not heard of, or was refused, takes at most so much from what seems free.

        What is picked or shipped for an order takes nothing that was not promised to it, unless the order has let go of units.
        """
        total: dict[Place, int] = {}
        for told in self.left.values():
            if told.at_ms <= now_ms and (not told.about or self.story.orders[told.about].loosened):
                for place, units in told.takes.items():
                    total[place] = total.get(place, 0) + units
        return total


def in_order(story: Story) -> Hearing:
    """Each thing is heard when it happens."""
    return [(told.at_ms, told) for told in story.told]


def late_and_twice(draw: Draw, story: Story) -> Hearing:
    """With when it is heard: never before it happened, some things long after; commands about one reservation in their order."""
    steps_late, commands_late = st.sampled_from([0, 0, 1, 3, 6, 10, 40]), st.sampled_from([0, 0, 0, 0, 2, 11])
    turns = itertools.count()
    heard: list[tuple[int, int, Told]] = []
    last: dict[str, int] = {}
    for told in story.told:
        delays = commands_late if told.command else steps_late
        at_ms = told.at_ms + (draw(delays) * STEP_MS if told.may_wait else 0)
        if told.reservation_id:
            at_ms = last[told.reservation_id] = max(at_ms, last.get(told.reservation_id, 0))
        heard.append((at_ms, next(turns), told))
        if told.event_id and draw(st.integers(0, 3)) == 0:
            heard.append((at_ms + draw(delays) * STEP_MS, next(turns), told))
    return [(at_ms, told) for at_ms, _, told in sorted(heard, key=lambda one: one[:2])]


async def listen(story: Story, heard: Hearing, *, bounds: ModelLimits | None = None) -> Heard:
    """Hears it all on the model. At no moment is more promised than there was, but for what is not heard of yet."""
    store = ModelStore(bounds)
    world = Heard(story, store)
    store.model.apply(WORLD, 0, RUN)
    for at_ms, some in itertools.groupby(heard, key=lambda one: one[0]):
        store.now_ms = at_ms
        await world.hear(told for _, told in some)
        assert_counts_are_sums(store.model)
        assert_never_more_than_there_is(world, at_ms)
    return world


def assert_never_more_than_there_is(world: Heard, at_ms: int) -> None:
    truly = max(
        (moment for moment in world.story.history if moment[0] <= at_ms), default=world.story.history[0], key=lambda moment: moment[0]
    )[1]
    unheard = world.may_still_take(at_ms)
    for (sku, node), row in world.store.model.rows.items():
        most = truly.get((sku, node), 0) + unheard.get((sku, node), 0)
        assert row.uncommitted() <= most, f"{sku} at {node}: {row}, there are {most}, of which {unheard} not heard of"


def assert_counts_are_sums(pool: Pool) -> None:
    """Rule 2, from the records alone."""
    for (sku, node), row in pool.rows.items():
        lines = [
            (record.state, line)
            for record in pool.reservations.values()
            for line in record.lines.values()
            if record.state in OPEN_STATES and (line.sku, line.node) == (sku, node)
        ]
        assert row.reserved == sum(line.open for state, line in lines if state == "HELD")
        assert row.allocated == sum(line.open for state, line in lines if state == "CONFIRMED")
        assert row.picked == sum(line.picked for _, line in lines)
        assert row.shipped_unbooked == sum(entry.quantity for entry in pool.unbooked.get((sku, node), {}).values())


def script(heard: Hearing) -> str:
    """What was heard, when it was and when it happened, in seconds of the story: for the report of a story that fails."""
    begin = heard[0][0]
    lines = [
        f"{(at_ms - begin) // 1_000:4} {(told.at_ms - begin) // 1_000:4} {told.data.decode() if told.command is None else told.command}"
        for at_ms, told in heard
    ]
    return "\n".join(["heard happened", *lines])
