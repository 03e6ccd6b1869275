"""Scrapes the processes of a test, as Prometheus does, until an alert fires or is quiet."""

import asyncio
import time

from prometheus_client import CollectorRegistry, generate_latest

from tests.alerting import Firing, firing
from tests.e2e.consuming import DEADLINE_S, until
from tests.promql import Scrape, scrape

BACKLOG = 10_001  # one more than the alerts bear
BETWEEN_SCRAPES_S = 0.1  # reading one takes the time of those who are to get on meanwhile: they share the event loop


class Clock:
    """Tells a process and its observer a time that the test sets forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


class Prometheus:
    """Scrapes the processes of a test, and evaluates the alerts over what it has."""

    def __init__(self, processes: list[CollectorRegistry], clock: Clock | None = None) -> None:
        self._processes = processes
        self._clock = clock or Clock()
        self._scrapes: list[Scrape] = []

    def look(self, name: str, **labels: str) -> list[Firing]:
        """What an alert finds now, of what has these labels."""
        self._scrapes.append(scrape(self._clock.time(), [generate_latest(process).decode() for process in self._processes]))
        return [found for found in firing(name, self._scrapes) if labels.items() <= found.labels.items()]

    async def fires(self, name: str, **labels: str) -> Firing:
        async def true() -> list[Firing]:
            await asyncio.sleep(BETWEEN_SCRAPES_S)
            return self.look(name, **labels)

        found: list[Firing] = await until(true, f"{name} fires for {labels}", DEADLINE_S)
        assert len(found) == 1, "it is told once, whatever number of processes sees it"
        return found[0]

    async def quiet(self, name: str, **labels: str) -> None:
        async def true() -> bool:
            await asyncio.sleep(BETWEEN_SCRAPES_S)
            return not self.look(name, **labels)

        await until(true, f"{name} is quiet for {labels}", DEADLINE_S)


async def is_true(true: bool) -> bool:
    return true
