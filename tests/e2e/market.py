"""Shoppers and a warehouse that never pause, whatever dies; the book of what they were told, and whether the store agrees."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atp.ledger import Entry, decode_entry
from atp.model.status import ExceptionReason
from atp.model.stock import StockRow
from atp_client import AsyncAtpClient, AtpError, Held, InsufficientStock, Reservation, State
from cli.embedded import NatsServer, StoreServer
from cli.verify import verify_pool
from consumers import streams
from consumers.ledger_reader import read_ledger
from consumers.ledger_writer import FIRST, LAST
from tests.e2e.consuming import Engine, engine, envelope, items, receipt, stock, until
from tests.e2e.fleet import Fleet

NODE: Final = "N1"
HOT: Final = "HOT"
SKUS: Final = tuple(f"SKU{number}" for number in range(8))
SHOPPERS: Final = 10
STOCK: Final = 5_000  # of each SKU, more than is wanted
HOT_STOCK: Final = 10  # far less than is wanted
FATES: Final = {"keep": 2, "expire": 3, "release": 4, "confirm": 4, "ship": 2}
DUE_MS, KEPT_MS = 1_000, 600_000
ACK_WAIT_S: Final = 2.0  # instead of half a minute: what a dead consumer had in hand comes again within a test
THINK_S: Final = 0.3  # between two baskets of a shopper, at most
FEED_S: Final = 0.05  # between two events; far fewer of one SKU within ACK_WAIT_S than its window holds
ANSWERED: Final = 5  # calls of each shopper that show that all of them go on
APPLIED: Final = 5  # events that show that the feeds do
DEADLINE_S: Final = 40.0


@dataclass
class Book:
    """What the shoppers were told, by the id that each call carries as its correlation, and what the warehouse did."""

    answers: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, AtpError] = field(default_factory=dict)
    ends: dict[str, State] = field(default_factory=dict)  # where each reservation stands at last
    sent: dict[str, dict[str, int]] = field(default_factory=dict)  # event by its cause: units per SKU that on hand rose by
    answered: Counter[str] = field(default_factory=Counter)  # how often, by shopper

    @property
    def unknown(self) -> set[str]:
        return {call for call, error in self.failures.items() if error.outcome_unknown}


@dataclass
class Seen:
    """The ledger as JetStream tells it."""

    revision: int = 0
    calls: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    events: Counter[str] = field(default_factory=Counter)

    def note(self, entry: Entry) -> None:
        self.revision = entry.revision
        if entry.verb in {"reserve", "confirm", "release", "fulfil"}:
            self.calls[entry.correlation].append(entry.revision)
        elif entry.verb in {"receipt", "adjustment", "shipment"}:
            self.events[entry.cause] += 1


class Market:
    """One pool in which all of it happens, at one node."""

    def __init__(self, made: Engine, seed: int) -> None:
        print(f"pool {made.pool}: seed {seed}")
        self.made = made
        self.book = Book()
        self.seen = Seen()
        self._chance = random.Random(seed)
        self._sequences = itertools.count(1)
        self._left: list[Reservation] = []  # what has left the shelves, and the warehouse has not told yet
        self._stop = asyncio.Event()
        self._shoppers = 0

    @contextlib.asynccontextmanager
    async def open(self, addresses: Sequence[str], *, shoppers: int, timeout_s: float = 20.0) -> AsyncIterator[None]:
        """Stocks the pool, then has it bought from while the block runs; a call, with all its tries, may take `timeout_s`."""
        for consumer in await self.made.js.consumers_info(streams.INVENTORY):
            await self.made.js.add_consumer(streams.INVENTORY, consumer.config.evolve(ack_wait=ACK_WAIT_S))
        await self._stock()
        self._shoppers = shoppers
        async with (
            AsyncAtpClient(addresses, pool=self.made.pool, channel="web", timeout_s=timeout_s) as client,
            asyncio.TaskGroup() as group,
        ):
            following = group.create_task(self._follow())
            shopping = [group.create_task(self._shop(client, f"s{number}")) for number in range(shoppers)]
            feeding = group.create_task(self._feed(shopping))
            try:
                yield
                await until(self._sold_out, f"more of {HOT} is wanted than there is", DEADLINE_S)
                self._stop.set()
                await feeding
                await self._settled()
            finally:
                while not following.done():  # nats-py can lose a cancellation: what it waits with does, before Python 3.12
                    following.cancel()
                    await asyncio.wait([following], timeout=0.1)

    # --- shoppers and warehouse -----------------------------------------------------------------------------------
    async def _stock(self) -> None:
        await self.made.send(items(1, HOT, *SKUS))
        await self._send(receipt(next(self._sequences), {HOT: HOT_STOCK, **dict.fromkeys(SKUS, STOCK)}))
        await self.made.has(HOT, HOT_STOCK)

    async def _shop(self, client: AsyncAtpClient, name: str) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            await self._basket(client, f"{name}-{number}")
            await asyncio.sleep(self._chance.random() * THINK_S)

    async def _basket(self, client: AsyncAtpClient, rid: str) -> None:
        """One reservation from its beginning to where it is left; a call that failed ends it, since nobody knows what then is true."""
        fate = self._chance.choices(list(FATES), list(FATES.values()))[0]
        wanted = {HOT: 1} if self._chance.random() < 0.3 else dict.fromkeys(self._chance.sample(SKUS, 2), self._chance.randint(1, 3))
        ttl_ms = DUE_MS if fate == "expire" else KEPT_MS
        answer = await self._call(f"{rid}/reserve", client.reserve, wanted, reservation_id=rid, ttl_ms=ttl_ms)
        if not isinstance(answer, Held):
            return
        state: State | None = State.HELD
        if fate == "release":
            state = await self._moved(f"{rid}/release", client.release, rid, operation_key="r")
        elif fate in {"confirm", "ship"}:
            state = await self._moved(f"{rid}/confirm", client.confirm, rid, operation_key="c")
        if fate == "ship" and state:
            state = await self._moved(f"{rid}/fulfil", client.fulfil, rid, shipment_id=f"ship-{rid}")
        found = await self._call(f"{rid}/get", client.get, rid) if state else None
        if found is None or state is None:
            return
        assert found.state == state or (fate == "expire" and found.state is State.EXPIRED), f"{rid} is {found.state}, but {state} was told"
        self.book.ends[rid] = State.EXPIRED if fate == "expire" else state
        if fate == "ship":
            self._left.append(found)

    async def _moved(self, call: str, verb: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> State | None:
        answer = await self._call(call, verb, *args, **kwargs)
        assert answer is None or answer, f"{call} was refused: {answer}"
        return answer.state if answer else None

    async def _call(self, call: str, verb: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        try:
            answer = await verb(*args, correlation=call, **kwargs)
        except AtpError as error:
            self.book.failures[call] = error
            return None
        self.book.answers[call] = answer
        self.book.answered[call.partition("-")[0]] += 1
        return answer

    async def _feed(self, shopping: Sequence[asyncio.Task[None]]) -> None:
        """Until all shoppers have gone and what they bought has left."""
        while self._left or not all(shopper.done() for shopper in shopping):
            await self._send(self._event())
            await asyncio.sleep(FEED_S)

    def _event(self) -> dict[str, Any]:
        sequence = next(self._sequences)
        if self._left and (self._stop.is_set() or self._chance.random() < 0.7):
            gone = self._left.pop(0)
            lines = [{"sku": line.sku, "quantity": line.shipped} for line in gone.lines]
            data = {"node": NODE, "sequence": sequence, "shipment_id": f"ship-{gone.reservation_id}", "reservation_id": gone.reservation_id}
            return envelope("shipment", "wms", {**data, "lines": lines})
        sku = self._chance.choice((HOT, *SKUS, *SKUS))
        if sku != HOT and self._chance.random() < 0.5:
            return envelope("adjustment", "wms", {"node": NODE, "sequence": sequence, "lines": [{"sku": sku, "on_hand": -1}]})
        return receipt(sequence, {sku: 1})

    async def _send(self, event: dict[str, Any]) -> None:
        """As a feed does that is never sure: now and then twice."""
        sign = -1 if event["type"] == "shipment" else 1
        lines = event["data"]["lines"]
        cause = event["data"].get("shipment_id", event["id"])
        self.book.sent[cause] = {line["sku"]: sign * line.get("quantity", 0) + line.get("on_hand", 0) for line in lines}
        for _ in range(1 + (self._chance.random() < 0.2)):
            await self.made.send(event)

    # --- what can be seen -----------------------------------------------------------------------------------------
    async def _follow(self) -> None:
        async with contextlib.aclosing(read_ledger(self.made.js, self.made.pool, follow=True)) as ledger:
            async for entries in ledger:
                for entry in map(decode_entry, entries):
                    self.seen.note(entry)

    async def goes_on(self, *, feeds: bool = True, relay: bool = True) -> None:
        """Waits until each shopper was answered, events were applied and the ledger reached JetStream, all of it made from now on."""
        answered, sent = Counter(self.book.answered), len(self.book.sent)
        info = await until(lambda: self.made.store.pool_info(self.made.pool), f"the store of {self.made.pool} answers")

        async def true() -> bool:
            now = self.book.answered - answered
            applied = sum(self.seen.events[cause] > 0 for cause in list(self.book.sent)[sent:])
            everybody = len(now) == self._shoppers and min(now.values()) >= ANSWERED
            return everybody and (applied >= APPLIED or not feeds) and (self.seen.revision > info.revision or not relay)

        await until(true, f"the market of {self.made.pool} goes on", DEADLINE_S)

    async def _settled(self) -> None:
        """Waits until all events are applied, all due holds are given back and the whole ledger is in JetStream."""
        await self.caught_up()

        async def true() -> bool:
            info = await self.made.store.pool_info(self.made.pool)
            still_open = {reservation.reservation_id for reservation in await self._open_reservations()}
            due = {rid for rid, state in self.book.ends.items() if state is State.EXPIRED}
            return self.seen.revision == info.revision and not due & still_open

        await until(true, f"the market of {self.made.pool} is settled", DEADLINE_S)

    async def _sold_out(self) -> bool:
        return any(isinstance(answer, InsufficientStock) for answer in self.book.answers.values())

    async def caught_up(self) -> None:
        """Waits until every event that was sent so far is in the ledger."""
        sent = list(self.book.sent)

        async def true() -> bool:
            return all(self.seen.events[cause] for cause in sent)

        await until(true, f"the feeds of {self.made.pool} have caught up", DEADLINE_S)

    # --- whether it is true ---------------------------------------------------------------------------------------
    async def audit(self, store_url: str, nats_url: str) -> None:
        """Compares the store and its ledger with the book, and has the rules checked over both."""
        self._audit_calls()
        await self._audit_reservations()
        await self._audit_stock()
        await self._audit_stream()
        raised = await self.made.exceptions()
        odd = [told.sentence for told in raised if told.state == "open" or told.reason != ExceptionReason.UNKNOWN_SKU]
        assert not odd, odd  # stock may overtake its items, and then waits for them
        report = await verify_pool(store_url, nats_url, self.made.pool)
        assert report.violations == []

    def _audit_calls(self) -> None:
        """Each answer stands in the ledger once, at the revision that was told; a refusal does not, nor a call that nobody made."""
        for call, answer in self.book.answers.items():
            if not call.endswith("/get"):
                assert self.seen.calls.get(call, []) == ([answer.revision] if answer else []), call
        for call in self.book.failures:
            assert len(self.seen.calls.get(call, [])) <= (call in self.book.unknown), call
        nobodys = self.seen.calls.keys() - self.book.answers.keys() - self.book.unknown
        assert not nobodys, nobodys
        odd = {cause: times for cause, times in self.seen.events.items() if times != 1 or cause not in self.book.sent}
        assert not odd, odd

    async def _audit_reservations(self) -> None:
        for rid, state in self.book.ends.items():
            assert (await self.made.store.get_reservation(self.made.pool, rid)).state == state, rid

    async def _audit_stock(self) -> None:
        """On hand is what came less what left; what is held and committed is what the reservations say; the hot SKU was enough."""
        rows = {sku: await self.made.row(sku) for sku in (HOT, *SKUS)}
        expected = {sku: StockRow(on_hand=sum(units.get(sku, 0) for units in self.book.sent.values())) for sku in rows}
        opened = await self._open_reservations()
        for reservation in opened:
            for line in reservation.lines:
                term = "reserved" if reservation.state == "HELD" else "allocated"
                setattr(expected[line.sku], term, getattr(expected[line.sku], term) + line.open)
        for sku, row in rows.items():
            row.revision = 0
            assert row == expected[sku], f"{sku} is {row}, and should be {expected[sku]}"
        assert rows[HOT].uncommitted() >= 0

    async def _audit_stream(self) -> None:
        """Every revision was published once: readers would pass over a second copy."""
        stream = streams.ledger_stream(self.made.pool)
        reached = 0
        for sequence in range(1, (await self.made.js.stream_info(stream)).state.last_seq + 1):
            headers = (await self.made.js.get_msg(stream, seq=sequence)).headers or {}
            assert int(headers[FIRST]) == reached + 1, f"message {sequence} begins at {headers[FIRST]}, after {reached}"
            reached = int(headers[LAST])

    async def _open_reservations(self) -> list[Any]:
        pages = [await self.made.store.open_reservations(self.made.pool, at, 100) for at in range(0, len(self.book.ends) + 100, 100)]
        return list(itertools.chain.from_iterable(pages))


def trading(folder: Path, scenario: Callable[[Fleet, Market, Engine], Awaitable[None]]) -> None:
    """Runs a scenario while a fleet of each kind of process is under load, with a quiet pool beside it; afterwards all must be true."""

    async def run(store: StoreServer, nats: NatsServer, fleet: Fleet) -> None:
        async with engine("main", store, nats) as made, engine("quiet", store, nats) as quiet:
            await fleet.started()
            await stock(quiet)
            market = Market(made, random.randrange(2**32))
            async with market.open(fleet.addresses, shoppers=SHOPPERS):
                await market.goes_on()
                await scenario(fleet, market, quiet)
            print(f"{len(market.book.answers)} calls, {len(market.book.sent)} events, revision {market.seen.revision}")
            assert market.book.failures == {}
            await market.audit(store.url, nats.url)
            assert fleet.troubles() == []

    with (
        StoreServer(folder / "store", fsync="no", options={"appendonly": "no"}) as store,
        NatsServer(folder / "nats", sync_interval="10s") as nats,
        Fleet(folder, store.url, nats.url) as fleet,
    ):
        fleet.add_services(3)
        for role, count in {"relay": 2, "feeds": 3, "sweeper": 2}.items():
            fleet.add_consumers(role, count)
        asyncio.run(run(store, nats, fleet))
