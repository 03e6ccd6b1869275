"""One process and all that it shows of itself: made before its face, running around it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Final

from prometheus_client import CollectorRegistry

from atp.observed import Readiness
from atp.store import Stores
from cli import config
from cli.config import Configuration
from cli.observe import logs, process_metrics
from cli.observe.endpoint import condition_page, metrics_page, serving
from cli.observe.heartbeat import Heartbeat
from cli.observe.tracing import SpanSender

_log: Final = logging.getLogger(__name__)


class Process:
    """`metrics`, `readiness` and `tracer` are for the face; raises ConfigurationError for traces without the packages they need."""

    def __init__(self, configuration: Configuration, stores: Stores, face: str) -> None:
        self._flood = logs.set_up(config.log(configuration))
        self._listen = config.metrics(configuration).listen
        self._heartbeat = Heartbeat(self._flood.tell)
        self.metrics = CollectorRegistry()
        self.readiness = Readiness()
        self.tracer = SpanSender.of(config.trace(configuration), face, stores)
        process_metrics.register(self.metrics, stores, self._heartbeat, self.readiness)

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Shows the process while the block runs, its end included. Raises CommandError if the address of the metrics is taken."""
        beating = asyncio.create_task(self._heartbeat.beat(), name="heartbeat")
        try:
            with self._endpoint():
                yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            if self.tracer is not None:
                await asyncio.to_thread(self.tracer.close)
            self._flood.tell(all_of_them=True)

    @contextlib.contextmanager
    def _endpoint(self) -> Iterator[None]:
        if self._listen is None:
            yield
            return
        pages = {
            "/metrics": metrics_page(self.metrics),
            "/ready": condition_page(self.readiness.why_not),
            "/live": condition_page(self._heartbeat.why_not_live),
        }
        with serving(self._listen, pages) as address:
            _log.info("metrics on http://%s/metrics", address)
            yield
