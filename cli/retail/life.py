"""The life of one basket: what its client asks of the service over gRPC, and what the warehouse then reports over NATS."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from atp import limits
from cli.retail.audit import Auditor, HeldLine
from cli.retail.client import CallFailedError, Client, UnknownOutcomeError
from cli.retail.feed import Feed
from cli.retail.plan import Basket, Ending, Undo
from cli.retail.tally import Count, Tally
from inventory.availability.v1 import reservation_pb2 as reservation
from inventory.availability.v1 import reservation_service_pb2 as service

#: A customer thinks at most this long, however slowly the file's clock runs: well within the time to live of a hold.
CONFIRM_WAIT_S_MAX: Final = 20.0
EXPIRY_MARGIN_S: Final = 0.1
EXPIRY_TRIES_MAX: Final = 20


class Pace:
    """The file's clock, sped up; a speed of 0 never waits."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start = time.monotonic()

    def start(self) -> None:
        self._start = time.monotonic()

    async def until(self, at_s: float) -> None:
        await self.sleep(self._start + at_s / self._speed - time.monotonic() if self._speed else 0.0)

    async def wait(self, file_s: float, real_s_max: float) -> None:
        await self.sleep(min(file_s / self._speed, real_s_max) if self._speed else 0.0)

    @staticmethod
    async def sleep(seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)


@dataclass(slots=True)
class World:
    """What all baskets of a run share."""

    pool: str
    channel: str
    client: Client
    feed: Feed
    auditor: Auditor
    tally: Tally
    pace: Pace
    calls: asyncio.Semaphore  # how many clients are at it at once


@dataclass(slots=True)
class Life:
    """A basket from its reserve to its end; `undo` may come at any time."""

    world: World
    basket: Basket
    _settled: asyncio.Event = field(default_factory=asyncio.Event)  # held for good, or ended
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one change at a time, so that the account of it is exact
    _open: bool = False
    _asked_s: float = 0.0
    _shipped: dict[int, tuple[HeldLine, int]] = field(default_factory=dict)  # and not returned

    async def live(self) -> None:
        """All of it, as the plan says."""
        try:
            if await self._hold():
                if self.basket.ending is Ending.ABANDONED:
                    await self._wait_for_expiry()
                elif self.basket.ending is Ending.EMPTIED:
                    await self._release()
                elif await self._confirm():
                    await self._after_confirm()
        except UnknownOutcomeError:
            if self._open:
                self._open = False
                self.world.auditor.unknown_change(self._asked_s, self.basket.id)
            else:
                self.world.tally.add(Count.UNKNOWN)
                self.world.auditor.unknown_hold(self.basket.nodes, self.basket.lines)
        except CallFailedError as error:
            self.world.tally.failures[str(error)[:200]] += 1
            if not self._open:
                self.world.tally.add(Count.FAILED)
        finally:
            self._settled.set()

    # --- holding --------------------------------------------------------------------------------------------------
    def _request(self) -> service.ReserveRequest:
        basket = self.basket
        return service.ReserveRequest(
            pool=self.world.pool,
            reservation_id=basket.id,
            channel=self.world.channel,
            order_reference=basket.order,
            ttl_ms=basket.ttl_ms,
            partial=basket.partial,
            nodes=basket.nodes,
            lines=[reservation.Want(sku=sku, quantity=quantity) for sku, quantity in basket.lines],
        )

    async def _hold(self) -> bool:
        tally = self.world.tally
        self._asked_s = time.monotonic()
        async with self.world.calls:
            answer = await self.world.client.call("Reserve", self.world.client.reservations.Reserve, self._request())
        for shortfall in answer.shortfalls:
            tally.short[shortfall.sku] += shortfall.requested - shortfall.available
            tally.short_baskets[shortfall.sku] += 1
        if answer.outcome == reservation.OUTCOME_INSUFFICIENT_STOCK:
            tally.add(Count.REFUSED)
            return False
        if answer.outcome != reservation.OUTCOME_OK:
            tally.surprise(f"Reserve {self.basket.id}: {_outcome(answer.outcome)}")
            return False
        lines = [HeldLine(move.number, move.sku, move.node, move.quantity) for move in answer.moves]
        self.world.auditor.held(time.monotonic(), self.basket.id, lines)
        self._open = True
        tally.add(Count.HELD)
        tally.add(Count.HELD_IN_PART, bool(answer.shortfalls))
        self._check_lines(lines, {shortfall.sku: shortfall.available for shortfall in answer.shortfalls})
        if self.basket.resent:
            await self._send_again(lines)
        return True

    def _check_lines(self, lines: Iterable[HeldLine], short: dict[str, int]) -> None:
        """Held is what was asked for, each SKU added up, less what was answered to be short; from the nodes named."""
        wanted: dict[str, int] = defaultdict(int)
        for sku, quantity in self.basket.lines:
            wanted[sku] += quantity
        held: dict[str, int] = dict.fromkeys(wanted, 0)
        for line in lines:
            held[line.sku] = held.get(line.sku, 0) + line.quantity
            if line.node not in self.basket.nodes:
                self.world.tally.surprise(f"Reserve {self.basket.id}: took {line.sku} from {line.node}, which was not named")
        if held != wanted | short or (short and not self.basket.partial):
            self.world.tally.surprise(f"Reserve {self.basket.id}: holds other quantities than were asked for")

    async def _send_again(self, lines: list[HeldLine]) -> None:
        async with self.world.calls:
            answer = await self.world.client.call("Reserve", self.world.client.reservations.Reserve, self._request())
        again = [HeldLine(move.number, move.sku, move.node, move.quantity) for move in answer.moves]
        self._compare("Reserve", answer.replayed and again == lines)

    def _compare(self, verb: str, same: bool) -> None:
        """A call that was sent twice on purpose must get the first answer twice."""
        self.world.tally.add(Count.RESENT)
        self.world.tally.add(Count.REPLAYED, same)
        if not same:
            self.world.tally.surprise(f"{verb} {self.basket.id}, sent again: not the first answer")

    # --- the ends -------------------------------------------------------------------------------------------------
    async def _wait_for_expiry(self) -> None:
        """Asks after the hold should have ended; the answer says that it has."""
        await asyncio.sleep(max(0.0, self._asked_s + self.basket.ttl_ms / 1000 - time.monotonic()))
        request = service.GetReservationRequest(pool=self.world.pool, reservation_id=self.basket.id)
        for _ in range(EXPIRY_TRIES_MAX):
            await asyncio.sleep(EXPIRY_MARGIN_S)
            async with self.world.calls:
                answer = await self.world.client.call("GetReservation", self.world.client.reservations.GetReservation, request)
            if answer.reservation.state == reservation.Reservation.STATE_EXPIRED:
                self._expired()
                return
        self.world.tally.surprise(f"{self.basket.id} has not expired in time")

    def _expired(self) -> None:
        self._open = False
        self.world.tally.add(Count.EXPIRED)
        self.world.auditor.expired(self._asked_s + self.basket.ttl_ms / 1000, self.basket.id)

    async def _confirm(self) -> bool:
        await self.world.pace.wait(self.basket.confirm_after_s, CONFIRM_WAIT_S_MAX)
        request = service.ConfirmRequest(pool=self.world.pool, reservation_id=self.basket.id, operation_key="confirm")
        async with self.world.calls:
            answer = await self.world.client.call("Confirm", self.world.client.reservations.Confirm, request)
        if answer.outcome == reservation.OUTCOME_EXPIRED:
            self._expired()
            return False
        if answer.outcome != reservation.OUTCOME_OK:
            self.world.tally.surprise(f"Confirm {self.basket.id}: {_outcome(answer.outcome)}")
            return False
        self.world.auditor.confirmed(self.basket.id)
        self.world.tally.add(Count.CONFIRMED)
        if self.basket.resent:
            async with self.world.calls:
                again = await self.world.client.call("Confirm", self.world.client.reservations.Confirm, request)
            self._compare("Confirm", again.replayed and again.moves == answer.moves)
        self._settled.set()
        return True

    async def _after_confirm(self) -> None:
        if self.basket.ending is Ending.CANCELLED:
            await self._release()
        elif self.basket.ending is Ending.SHIPPED:
            await self.world.pace.until(self.basket.at_s + self.basket.ship_after_s)
            await self._ship()

    async def _release(self) -> None:
        async with self._lock:
            if not self.world.auditor.open_lines(self.basket.id):
                return  # cancelled line by line before
            if await self._release_parts("release", {}):
                self._open = False
                self.world.tally.add(Count.RELEASED)

    async def _release_parts(self, key: str, units: dict[int, int]) -> bool:
        """Gives back these units by line, or all; true if done."""
        asked_s = time.monotonic()
        request = service.ReleaseRequest(
            pool=self.world.pool,
            reservation_id=self.basket.id,
            operation_key=key,
            lines=[reservation.Part(number=number, quantity=quantity) for number, quantity in units.items()],
        )
        async with self.world.calls:
            answer = await self.world.client.call("Release", self.world.client.reservations.Release, request)
        if answer.outcome != reservation.OUTCOME_OK:
            self.world.tally.surprise(f"Release {self.basket.id}: {_outcome(answer.outcome)}")
            return False
        self.world.auditor.released(asked_s, self.basket.id, units or None)
        if self.basket.resent:
            async with self.world.calls:
                again = await self.world.client.call("Release", self.world.client.reservations.Release, request)
            self._compare("Release", again.replayed and again.moves == answer.moves)
        return True

    # --- the warehouse --------------------------------------------------------------------------------------------
    async def _ship(self) -> None:
        """Ships all that is still open: a shipment per node, more where the lines are too many for one event."""
        async with self._lock:
            by_node: dict[str, dict[int, tuple[HeldLine, int]]] = defaultdict(dict)
            for number, (line, units) in self.world.auditor.open_lines(self.basket.id).items():
                by_node[line.node][number] = (line, units)
            self.world.tally.add(Count.SHIPPED, bool(by_node))
            for node, lines in by_node.items():
                numbers = list(lines)
                for start in range(0, len(numbers), limits.EVENT_LINES_MAX):
                    some = numbers[start : start + limits.EVENT_LINES_MAX]
                    shipment_id = f"{self.basket.id}-{node}" + (f"-{start}" if start else "")
                    await self._ship_from(node, shipment_id, {number: lines[number] for number in some})
            self._open = False

    async def _ship_from(self, node: str, shipment_id: str, lines: dict[int, tuple[HeldLine, int]]) -> None:
        contents = self.world.auditor.shipped(self.basket.id, lines)
        self._shipped.update(lines)
        self.world.tally.add(Count.SHIPMENTS)
        reports = [self.world.feed.shipment(node, shipment_id, self.basket.id, contents)]
        if self.basket.reported_twice:
            reports.append(self._fulfil(shipment_id, {number: units for number, (_, units) in lines.items()}))
        await asyncio.gather(*reports)

    async def _fulfil(self, shipment_id: str, units: dict[int, int]) -> None:
        """The order management tells of the shipment too; whichever comes first, it counts once."""
        self.world.tally.add(Count.REPORTED_TWICE)
        request = service.FulfilRequest(
            pool=self.world.pool,
            reservation_id=self.basket.id,
            shipment_id=shipment_id,
            lines=[reservation.Part(number=number, quantity=quantity) for number, quantity in units.items()],
        )
        try:
            async with self.world.calls:
                answer = await self.world.client.call("Fulfil", self.world.client.reservations.Fulfil, request)
        except UnknownOutcomeError:
            return  # the warehouse's own report settles the shipment either way
        except CallFailedError as error:
            self.world.tally.failures[str(error)[:200]] += 1
            return
        if answer.outcome != reservation.OUTCOME_OK:
            self.world.tally.surprise(f"Fulfil {shipment_id}: {_outcome(answer.outcome)}")

    # --- cancellations --------------------------------------------------------------------------------------------
    async def undo(self, undo: Undo) -> None:
        """Releases what has not been shipped of the lines, and returns what has."""
        await self._settled.wait()
        async with self._lock:
            released, returned, of_no_sale = self._divide(undo)
            self.world.tally.add(Count.LINES_OF_NO_SALE, of_no_sale)
            if released and await self._release_lines(f"undo-{undo.id}", released):
                self.world.tally.add(Count.LINES_RELEASED, len(undo.lines) - of_no_sale - len(returned))
            self.world.tally.add(Count.LINES_RETURNED, len(returned))
            by_node: dict[str, list[tuple[str, int]]] = defaultdict(list)
            for node, sku, units in (part for parts in returned for part in parts):
                by_node[node].append((sku, units))
            for node, contents in by_node.items():
                self.world.auditor.returned(time.monotonic(), node, contents, undo.disposition)
                await self.world.feed.returned(node, contents, undo.disposition)

    def _divide(self, undo: Undo) -> tuple[dict[int, int], list[list[tuple[str, str, int]]], int]:
        """Units to release by line; units to return (node, SKU, units) of each cancelled line; cancelled lines that have neither.

        A reservation ships as a whole, so a cancelled line is either open or shipped.
        """
        still_open = self.world.auditor.open_lines(self.basket.id) if self._open else {}
        released: dict[int, int] = defaultdict(int)
        returned: list[list[tuple[str, str, int]]] = []
        of_no_sale = 0
        for sku, quantity in undo.lines:
            wanted = quantity
            for number, (line, units) in still_open.items():
                taken = min(wanted, units - released.get(number, 0)) if line.sku == sku else 0
                if taken:
                    released[number] += taken
                    wanted -= taken
            parts = []
            for number, (line, units) in self._shipped.items():
                taken = min(wanted, units) if line.sku == sku else 0
                if taken:
                    self._shipped[number] = (line, units - taken)
                    parts.append((line.node, sku, taken))
                    wanted -= taken
            if parts:
                returned.append(parts)
            of_no_sale += wanted == quantity
        return released, returned, of_no_sale

    async def _release_lines(self, key: str, units: dict[int, int]) -> bool:
        try:
            return await self._release_parts(key, units)
        except UnknownOutcomeError:
            self._open = False
            self.world.auditor.unknown_change(self._asked_s, self.basket.id)
        except CallFailedError as error:
            self.world.tally.failures[str(error)[:200]] += 1
        return False


def _outcome(number: reservation.Outcome.ValueType) -> str:
    return reservation.Outcome.Name(number).removeprefix("OUTCOME_")
