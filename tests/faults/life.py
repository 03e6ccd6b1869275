"""A small life on one pool: shoppers and feeds of several sources, late, twice and out of order, that go on whatever breaks.

What happens is drawn from the seed; when it happens, and so what meets what, is the machine's.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from atp import requests
from atp.errors import CallTimeoutError, StoreBusyError, StoreUnavailableError
from atp.model.status import Status
from atp.model.verbs import ChannelConfig, Context, NodeConfig, Reserve, Result, SourceConfig
from atp.store.store import Write
from consumers import streams
from consumers.connection import AWAY
from consumers.provision_file import PoolFile
from tests.e2e.consuming import Engine, until
from tests.faults.journal import FIGURES, Books, Call, Changes, Journal, Said, Sent

POOL: Final = "life"
DC, STORE, DEPOT = "DC1", "ST1", "DP1"
NODES: Final = (DC, STORE, DEPOT)
SKUS: Final = tuple(f"SKU{number}" for number in range(6))
HOT: Final = "HOT"  # far fewer, at the store alone, than are wanted
LATECOMERS: Final = ("NEW1", "NEW2")  # their stock comes before they are registered
SHOPPERS: Final = 4
HOT_UNITS: Final = 12
THINK_S: Final = 0.06
FEED_S: Final = 0.02
SHUFFLED_WITHIN: Final = 15  # events
TWICE: Final = 0.15
KEPT_MS, DUE_MS = 600_000, 1_000
TRY_AGAIN_S: Final = 0.02
CALL_S: Final = 2.0
PUBLISH_S: Final = 1.0
ANSWERED: Final = 25  # calls that show that the life goes on
DEADLINE_S: Final = 60.0
FATES: Final = {"keep": 2, "expire": 3, "release": 3, "confirm": 2, "ship": 5, "cancel": 2}
ENDS: Final = {
    "keep": "HELD",
    "expire": "EXPIRED",
    "release": "RELEASED",
    "confirm": "CONFIRMED",
    "ship": "FULFILLED",
    "cancel": "RELEASED",
}
_CLOSED: Final = {Status.POOL_NOT_OPEN, Status.UNKNOWN_POOL}

POOL_FILE: Final = PoolFile(
    POOL,
    [
        NodeConfig(DC, "distribution_centre", "Europe/London", "wms"),
        NodeConfig(STORE, "store", "Europe/Paris", "till"),
        NodeConfig(DEPOT, "3pl", "Europe/Berlin", "tpl"),
    ],
    [ChannelConfig("web", list(NODES))],
    [
        SourceConfig("erp", registers_items=True),
        SourceConfig("wms", registers_items=False),
        SourceConfig("till", registers_items=False, order="id"),
        SourceConfig("tpl", registers_items=False, order="time", on_hand_falls="pick"),
        SourceConfig("oms", registers_items=False, order="id"),
    ],
)
Event = dict[str, Any]


class Feeds:
    """Writes events as their sources do, and keeps the books of what they say."""

    def __init__(self, chance: random.Random, journal: Journal, books: Books) -> None:
        self._chance = chance
        self._journal = journal
        self._books = books
        self._numbers = itertools.count(1)
        self._sequences = {source: itertools.count(1) for source in ("erp", "wms")}
        self._day = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        self.news = {DC: self._of_the_warehouse, STORE: self._of_the_till, DEPOT: self._of_the_depot}

    def _event(
        self,
        kind: str,
        source: str,
        data: dict[str, Any],
        said: Changes | None = None,
        *,
        is_count: bool = False,
        part_of: Said | None = None,
    ) -> Event:
        """With the place that its source gives it: a sequence, a second of its own, or none."""
        number = next(self._numbers)
        name, when, place = f"{kind}-{number}", datetime.now(UTC), 0
        if source in self._sequences:
            place = data.get("sequence") or next(self._sequences[source])
            data = {**data, "sequence": place}
        elif source == "tpl":
            place = number
            when = self._day + timedelta(seconds=number)
        if "as_of" in data and source == "tpl":
            data = {**data, "as_of": when}
        node = data.get("node", "")
        noted = self._books.note(node, Said(place, said, is_count)) if said is not None else part_of
        self._journal.events[name] = Sent(kind, node, noted)
        head = {"specversion": "1.0", "id": name, "source": source, "type": kind, "time": when, "correlation": name}
        return {**head, "data": data}

    def registered(self, *skus: str) -> Event:
        return self._event("item_registered", "erp", {"lines": [{"sku": sku} for sku in skus]})

    def received(self, source: str, node: str, units: Mapping[str, int]) -> Event:
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
        return self._event("receipt", source, {"node": node, "lines": lines}, _on_hand(units))

    def left(self, node: str, rid: str, units: Mapping[str, int]) -> list[Event]:
        """What the node's source tells of a shipment; its id is that of `shipment_id`."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
        data = {"node": node, "reservation_id": rid, "lines": lines}
        gone = _on_hand({sku: -quantity for sku, quantity in units.items()})
        if node == DC:
            return [self._event("shipment", "wms", {**data, "shipment_id": shipment_id(rid)}, gone)]
        if node == STORE:
            return [self._event("sale", "till", {**data, "transaction_id": shipment_id(rid)}, gone)]
        pick = self._event("pick", "tpl", data, gone)
        return [pick, self._event("shipment", "tpl", {**data, "shipment_id": shipment_id(rid)})]

    def cancelled(self, order: str) -> Event:
        return self._event("order_cancelled", "oms", {"order_reference": order})

    # --- what happens by itself -------------------------------------------------------------------------------------
    def _of_the_warehouse(self) -> list[Event]:
        kinds: dict[Callable[[], list[Event]], float] = {
            self._receipt: 4,
            self._adjustment: 3,
            self._status_change: 2,
            self._return: 2,
            self._cycle_count: 1,
            self._snapshot: 1,
            self._full_snapshot: 0.3,
            self._transfer: 1,
            self._pick_short: 0.2,
            self._heartbeat: 0.5,
        }
        return self._chance.choices(list(kinds), list(kinds.values()))[0]()

    def _of_the_till(self) -> list[Event]:
        sku, units = self._chance.choice(SKUS), self._chance.randint(1, 3)
        data: dict[str, Any] = {"node": STORE, "lines": [{"sku": sku, "quantity": units}]}
        if self._chance.random() < 0.7:
            return [self._event("sale", "till", {**data, "transaction_id": f"T{next(self._numbers)}"}, _on_hand({sku: -units}))]
        return [self._event("sale_return", "till", {**data, "disposition": "damaged"}, {sku: {"on_hand": units, "damaged": units}})]

    def _of_the_depot(self) -> list[Event]:
        sku = self._chance.choice(SKUS)
        if self._chance.random() < 0.8:
            return [self.received("tpl", DEPOT, {sku: self._chance.randint(1, 9)})]
        return [self._count("cycle_count", "tpl", DEPOT, {sku: {"on_hand": self._level()}})]

    def _receipt(self) -> list[Event]:
        return [self.received("wms", DC, {sku: self._chance.randint(1, 9) for sku in self._chance.sample((*SKUS, *LATECOMERS), 2)})]

    def _adjustment(self) -> list[Event]:
        changes = {sku: {"on_hand": self._chance.randint(-3, 3), "damaged": 1} for sku in self._chance.sample(SKUS, 2)}
        lines = [{"sku": sku, **change} for sku, change in changes.items()]
        return [self._event("adjustment", "wms", {"node": DC, "lines": lines}, changes)]

    def _status_change(self) -> list[Event]:
        sku = self._chance.choice(SKUS)
        lines = [{"sku": sku, "quantity": 2, "from": "sellable", "to": "quality_hold"}]
        return [self._event("status_change", "wms", {"node": DC, "lines": lines}, {sku: {"quality_hold": 2}})]

    def _return(self) -> list[Event]:
        sku = self._chance.choice(SKUS)
        data = {"node": DC, "disposition": "sellable", "lines": [{"sku": sku, "quantity": 1}]}
        return [self._event("return", "wms", data, _on_hand({sku: 1}))]

    def _pick_short(self) -> list[Event]:
        sku = self._chance.choice(SKUS)
        data = {"node": DC, "order_reference": f"P{next(self._numbers)}", "lines": [{"sku": sku, "quantity": 1}]}
        return [self._event("pick_short", "wms", data, _on_hand({sku: -1}))]

    def _heartbeat(self) -> list[Event]:
        return [self._event("heartbeat", "wms", {"node": DC})]

    def _transfer(self) -> list[Event]:
        sku, units, transfer = self._chance.choice(SKUS), self._chance.randint(1, 5), f"TR{next(self._numbers)}"
        data = {"transfer_id": transfer, "lines": [{"sku": sku, "quantity": units}]}
        out = self._event("transfer_out", "wms", {**data, "node": DC, "to_node": STORE}, _on_hand({sku: -units}))
        return [out, self._event("transfer_in", "till", {**data, "node": STORE, "from_node": DC}, _on_hand({sku: units}))]

    def _level(self) -> int:
        return self._chance.randint(1_500, 2_500)

    def _cycle_count(self) -> list[Event]:
        return [self._count("cycle_count", "wms", DC, {self._chance.choice(SKUS): {"on_hand": self._level()}})]

    def _snapshot(self) -> list[Event]:
        counted = {sku: {"on_hand": self._level(), "damaged": 3} for sku in self._chance.sample(SKUS, 2)}
        return [self._count("snapshot", "wms", DC, counted)]

    def _full_snapshot(self) -> list[Event]:
        """In two parts; latecomers are left out, so that they are 0."""
        sequence = next(self._sequences["wms"])
        parts = [{sku: {"on_hand": self._level(), "quality_hold": 1} for sku in skus} for skus in (SKUS[:3], SKUS[3:])]
        whole = {sku: dict.fromkeys(FIGURES, 0) | units for part in parts for sku, units in part.items()}
        said = self._books.note(DC, Said(sequence, whole, is_count=True, is_full=True))
        data = {"node": DC, "sequence": sequence, "as_of": datetime.now(UTC), "scope": "full", "parts": len(parts)}
        return [
            self._event("snapshot", "wms", {**data, "part": number, "lines": _lines(units)}, part_of=said)
            for number, units in enumerate(parts, start=1)
        ]

    def _count(self, kind: str, source: str, node: str, counted: Changes) -> Event:
        data = {"node": node, "as_of": datetime.now(UTC), "lines": _lines(counted)}
        return self._event(kind, source, data, counted, is_count=True)


def _on_hand(units: Mapping[str, int]) -> Changes:
    return {sku: {"on_hand": quantity} for sku, quantity in units.items()}


def _lines(units: Changes) -> list[dict[str, Any]]:
    return [{"sku": sku, **figures} for sku, figures in units.items()]


def shipment_id(rid: str) -> str:
    return f"ship-{rid}"


def _context(rid: str, verb: str) -> Context:
    return Context("shopper", f"{rid}/{verb}")


def hold(rid: str, node: str, units: dict[str, int], *, order: str = "", ttl_ms: int = KEPT_MS) -> Reserve:
    """All of it at one node."""
    return requests.reserve(
        _context(rid, "reserve"),
        reservation_id=rid,
        own_id=False,
        channel="web",
        order_reference=order,
        ttl_ms=ttl_ms,
        partial=False,
        nodes=[node],
        lines=list(units.items()),
    )


class Life:
    """Runs on a pool that is open; `made.store` is how its shoppers reach the store."""

    def __init__(self, made: Engine, seed: str) -> None:
        self.made = made
        self.journal = Journal()
        self.books = Books()
        self._seed = seed
        self._chance = random.Random(f"{seed} feeds")
        self._feeds = Feeds(self._chance, self.journal, self.books)
        self._stop = asyncio.Event()
        self._may_go = asyncio.Event()
        self._under_way = 0
        self._owed: list[Event] = []  # what sources will tell of what shoppers did
        self._line: list[Event] = []  # what is about to be published, in the order in which it will be
        self._registered_late = False

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """While the block runs, and then until all that was begun is ended and told."""
        self._may_go.set()
        await self._stock()
        async with asyncio.TaskGroup() as group:
            shopping = [group.create_task(self._shop(f"s{number}")) for number in range(SHOPPERS)]
            group.create_task(self._feed(shopping))
            yield
            self._stop.set()
        await self.drained()

    async def _stock(self) -> None:
        for event in (
            self._feeds.registered(*SKUS, HOT),
            self._feeds.received("wms", DC, dict.fromkeys(SKUS, 2_000)),
            self._feeds.received("till", STORE, {**dict.fromkeys(SKUS, 2_000), HOT: HOT_UNITS}),
            self._feeds.received("tpl", DEPOT, dict.fromkeys(SKUS, 2_000)),
        ):
            await self._publish(event)
        for node in NODES:
            await self.made.has(SKUS[0], 2_000, node)

    # --- shoppers -------------------------------------------------------------------------------------------------
    async def _shop(self, name: str) -> None:
        chance = random.Random(f"{self._seed} {name}")
        for number in itertools.count():
            if self._stop.is_set():
                return
            await self._visit(f"{name}-{number}", chance)
            await asyncio.sleep(chance.random() * THINK_S)

    async def _visit(self, rid: str, chance: random.Random) -> None:
        fate = chance.choices(list(FATES), list(FATES.values()))[0]
        is_hot = chance.random() < 0.1
        node = STORE if is_hot else chance.choice(NODES)
        units = {HOT: 1} if is_hot else {sku: chance.randint(1, 3) for sku in chance.sample(SKUS, 2)}
        is_told_first = chance.random() < 0.5
        order = f"O-{rid}"
        request = hold(rid, node, units, order=order, ttl_ms=DUE_MS if fate == "expire" else KEPT_MS)
        if (await self._call("reserve", rid, request)).status != "OK":
            return
        self.journal.ends[rid] = ENDS[fate]
        if fate in {"keep", "confirm"}:
            self.journal.open_units.update({(sku, node, "reserved" if fate == "keep" else "allocated"): n for sku, n in units.items()})
        if fate == "release":
            await self._do("release", rid, requests.release(_context(rid, "release"), reservation_id=rid, key="r", lines=[]))
        elif fate in {"confirm", "ship", "cancel"}:
            await self._do("confirm", rid, requests.confirm(_context(rid, "confirm"), reservation_id=rid, key="c", reacquire=False))
        if fate == "cancel":
            self._owed.append(self._feeds.cancelled(order))
        elif fate == "ship":
            await self._ship(rid, node, units, is_told_first=is_told_first)

    async def _ship(self, rid: str, node: str, units: dict[str, int], *, is_told_first: bool) -> None:
        """At the store the sale is the shipment; elsewhere the shipment is told by both, in either order."""
        if is_told_first or node == STORE:
            self._owed += self._feeds.left(node, rid, units)
        if node != STORE:
            shipment = shipment_id(rid)
            fulfil = requests.fulfil(_context(rid, "fulfil"), reservation_id=rid, shipment_id=shipment, shipped_ms=0, lines=[])
            await self._do("fulfil", shipment, fulfil, name=f"{rid}/fulfil")
            if not is_told_first:
                self._owed += self._feeds.left(node, rid, units)

    async def _do(self, verb: str, about: str, request: Write, name: str = "") -> None:
        answer = await self._call(verb, about, request, name)
        assert answer.status == "OK", f"{verb} of {about} was answered {answer}"

    async def _call(self, verb: str, about: str, request: Write, name: str = "") -> Result:
        """The answer, asked for with the same id until there is one."""
        async with self._one_thing():
            while True:
                sent_at = time.monotonic()
                try:
                    answer = await self.made.store.write(POOL, request, timeout_s=CALL_S)
                except (StoreUnavailableError, StoreBusyError, CallTimeoutError) as error:
                    unknown = getattr(error, "outcome_unknown", True)
                    self.journal.refused[f"{type(error).__name__}{', outcome unknown' if unknown else ''}"] += 1
                else:
                    if answer.status not in _CLOSED:
                        break
                    self.journal.refused[answer.status] += 1
                self.journal.repeated["calls sent again"] += 1
                await asyncio.sleep(TRY_AGAIN_S)
        self.journal.calls[name or f"{about}/{verb}"] = Call(verb, about, answer)
        if answer.status == "OK":
            self.journal.sent_at.append(sent_at)
        self.journal.repeated["answers given again"] += answer.replayed
        return answer

    # --- sources --------------------------------------------------------------------------------------------------
    async def _feed(self, shopping: list["asyncio.Task[None]"]) -> None:
        """Until all shoppers have gone and what they did is told."""
        while self._owed or not all(shopper.done() for shopper in shopping):
            self._go_on()
            if len(self._line) > SHUFFLED_WITHIN:
                await self._publish(self._line.pop(0))
            await asyncio.sleep(FEED_S)
        if not self._registered_late:
            self._register_late()
        for event in self._line:
            await self._publish(event)

    def _go_on(self) -> None:
        """Something more is said: of what shoppers did, or by chance."""
        node = self._chance.choices(NODES, (5, 2, 2))[0]
        happened = [self._owed.pop(0)] if self._owed and self._chance.random() < 0.8 else self._feeds.news[node]()
        for event in happened:
            self._put(event)
            if self._chance.random() < TWICE:
                self.journal.repeated["events sent twice"] += 1
                self._put(event)
        if not self._registered_late and len(self.journal.events) > 150:
            self._register_late()

    def _register_late(self) -> None:
        self._registered_late = True
        self._put(self._feeds.registered(*LATECOMERS))

    def _put(self, event: Event) -> None:
        self._line.insert(self._chance.randint(max(0, len(self._line) - SHUFFLED_WITHIN), len(self._line)), event)

    async def _publish(self, event: Event) -> None:
        """Until JetStream has it."""
        subject, data = f"inv.{POOL}.{event['source']}.{event['type']}", msgspec.json.encode(event)
        async with self._one_thing():
            while True:
                try:
                    await self.made.js.publish(subject, data, timeout=PUBLISH_S)
                except AWAY as error:
                    self.journal.refused[f"publish: {type(error).__name__}"] += 1
                    self.journal.repeated["events published again"] += 1
                    await asyncio.sleep(TRY_AGAIN_S)
                else:
                    return

    # --- how it goes ----------------------------------------------------------------------------------------------
    def broke(self) -> None:
        """Something broke just now."""
        self.journal.broken_at.append(time.monotonic())

    async def goes_on(self) -> None:
        """Waits until calls that are made from now on were answered, and their entries have reached JetStream."""
        began = time.monotonic()

        async def true() -> bool:
            return sum(at > began for at in self.journal.sent_at[-2 * ANSWERED :]) >= ANSWERED

        await until(true, "the life goes on", DEADLINE_S)
        await self.relayed()

    async def relayed(self) -> None:
        """Waits until JetStream has what is there now."""
        goal = (await until(lambda: self.made.store.pool_info(POOL), "the store answers", DEADLINE_S)).revision

        async def true() -> bool:
            return (await self.made.store.pool_info(POOL)).published >= goal

        await until(true, "the ledger reaches JetStream", DEADLINE_S)

    async def holds_its_breath(self) -> None:
        """Nothing is begun, what was begun is ended, and all of it is in JetStream. `goes` ends it."""
        self._may_go.clear()

        async def true() -> bool:
            return self._under_way == 0

        await until(true, "what is under way is ended", DEADLINE_S)
        await self.events_settled()
        await self.relayed()

    def goes(self) -> None:
        self._may_go.set()

    async def redelivered(self) -> int:
        """How many times JetStream gave an event again."""
        delivered = (await self.made.js.consumer_info(streams.INVENTORY, streams.feed_durable(POOL))).delivered
        return delivered.consumer_seq - delivered.stream_seq if delivered else 0

    async def events_settled(self) -> None:
        async def true() -> bool:
            info = await self.made.js.consumer_info(streams.INVENTORY, streams.feed_durable(POOL))
            return not info.num_pending and not info.num_ack_pending

        await until(true, "all events are settled", DEADLINE_S)

    async def drained(self) -> None:
        """Nothing waits any more: no event, no entry, no hold that is due."""
        await self.events_settled()

        async def true() -> bool:
            _, keys = await self.made.store.read_keys(POOL, ["exp"])
            return min((int(due) for due in keys.get("exp", {}).values()), default=2**60) > (time.time() + KEPT_MS / 4_000) * 1_000

        await until(true, "holds that were left are given back", DEADLINE_S)
        await self.relayed()
        self.journal.repeated["events delivered again"] = await self.redelivered()

    @asynccontextmanager
    async def _one_thing(self) -> AsyncIterator[None]:
        """Something under way; not begun while the life holds its breath."""
        await self._may_go.wait()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
