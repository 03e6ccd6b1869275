"""Reads the stock back over gRPC and waits, bounded, until it is what the auditor says."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from atp import limits
from cli.retail.audit import Row, Stock
from cli.retail.client import Client
from inventory.availability.v1 import availability_service_pb2 as service
from inventory.availability.v1 import reservation_pb2 as reservation

STALL_S: Final = 20.0  # without any progress the feeds have stopped: waiting longer cannot help
POLL_S: Final = 0.1
READS_AT_ONCE: Final = 32

_Item = TypeVar("_Item")


async def wait_for(missing: Iterable[_Item], still: Callable[[set[_Item]], Awaitable[set[_Item]]], stall_s: float = STALL_S) -> set[_Item]:
    """Asks `still` for what is missing of what is missing, until nothing is, or nothing has come for `stall_s`; returns the rest."""
    left = set(missing)
    moved_s = time.monotonic()
    while left:
        now_left = await still(left)
        if len(now_left) < len(left):
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > stall_s:
            return now_left
        left = now_left
        await asyncio.sleep(POLL_S if left else 0)
    return left


class Readback:
    """What the service says of a pool."""

    def __init__(self, client: Client, pool: str, channel: str, safety_stock: dict[str, int]) -> None:
        self._client = client
        self._pool = pool
        self._channel = channel
        self._safety = safety_stock

    async def known(self, skus: Iterable[str]) -> set[str]:
        """Waits until these SKUs are registered; returns those that are not."""

        async def still(left: set[str]) -> set[str]:
            return {line.sku for line in await self._lines(left) if line.status != service.SKU_STATUS_KNOWN}

        return await wait_for(skus, still)

    async def promised(self, stock: dict[Row, Stock]) -> dict[Row, str]:
        """Waits until each of these rows can promise what it must; returns what is wrong with those that do not."""
        figures: dict[Row, int] = {}

        async def still(left: set[Row]) -> set[Row]:
            figures.update(await self.available({sku for sku, _ in left}))
            return {row for row in left if figures.get(row, 0) not in range(*self._promise(row, stock[row]))}

        left = await wait_for(stock, still)
        return {row: f"{figures.get(row, 0)} can be promised, must be {self._promise(row, stock[row])[0]}" for row in left}

    async def available(self, skus: Iterable[str]) -> dict[Row, int]:
        """What can be promised of these SKUs at each node now."""
        return {(line.sku, node.node): node.available for line in await self._lines(skus) for node in line.nodes}

    def _promise(self, row: Row, stock: Stock) -> tuple[int, int]:
        safety = self._safety.get(row[0], 0)
        return max(0, stock.uncommitted.low - safety), max(0, stock.uncommitted.high - safety) + 1

    async def rows(self, stock: dict[Row, Stock], told: Callable[[int], None]) -> dict[Row, str]:
        """Waits until every term of these rows is as it must be; returns what is wrong with those that are not.

        `told` hears how many rows have been looked at.
        """
        wrong: dict[Row, str] = {}
        gate = asyncio.Semaphore(READS_AT_ONCE)

        async def look(row: Row) -> None:
            async with gate:
                wrong[row] = await self._differences(row, stock[row])
                told(len(wrong))

        async def still(left: set[Row]) -> set[Row]:
            async with asyncio.TaskGroup() as tasks:
                for row in left:
                    tasks.create_task(look(row))
            return {row for row in left if wrong[row]}

        left = await wait_for(stock, still)
        return {row: wrong[row] for row in left}

    async def _differences(self, row: Row, stock: Stock) -> str:
        request = service.ExplainAvailabilityRequest(pool=self._pool, sku=row[0], node=row[1])
        answer = await self._client.call("ExplainAvailability", self._client.availability.ExplainAvailability, request)
        terms = {term.name: term.contribution for term in answer.terms}
        exact = {
            "on_hand": stock.on_hand,
            "damaged": -stock.damaged,
            "quality_hold": -stock.quality_hold,
            "shipped_unbooked": 0,  # the warehouse has reported every shipment
            "safety_stock": -self._safety.get(row[0], 0),
        }
        wrong = [f"{name} is {abs(terms[name])}, must be {abs(units)}" for name, units in exact.items() if terms[name] != units]
        for name, span in (("reserved", stock.reserved), ("allocated", stock.allocated)):
            if -terms[name] not in span:
                wrong.append(f"{name} is {-terms[name]}, must be {span}")
        return ", ".join(wrong)

    async def _lines(self, skus: Iterable[str]) -> list[service.AvailabilityLine]:
        wanted = sorted(skus)
        lines: list[service.AvailabilityLine] = []
        for start in range(0, len(wanted), limits.AVAILABILITY_SKUS_MAX):
            request = service.BatchGetAvailabilityRequest(
                pool=self._pool,
                channel=self._channel,
                lines=[reservation.Want(sku=sku) for sku in wanted[start : start + limits.AVAILABILITY_SKUS_MAX]],
            )
            answer = await self._client.call("BatchGetAvailability", self._client.availability.BatchGetAvailability, request)
            lines += answer.lines
        return lines
