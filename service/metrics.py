"""What the service counts of its calls, and how Prometheus is told: plain numbers on the hot path, metrics when they are asked for."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from atp.errors import RefusedError
from atp.model.status import Status
from atp.store import Stores
from atp.store.observed import Durations
from inventory.availability.v1.reservation_pb2 import Outcome
from service.errors import PROBLEMS, UnauthenticatedError
from service.methods import Kind, Method
from service.pools_in_use import PoolsInUse

CANCELLED: Final = "CANCELLED"  # the caller went away before its answer
OK: Final = "OK"
_OUTCOMES: Final = {number: name.removeprefix("OUTCOME_") for name, number in Outcome.items()}


class CallCounts:
    """Calls of one method; kept by the event loop, read by any thread."""

    __slots__ = ("_kind", "_problems", "_shown_pools", "durations", "in_flight", "method", "outcomes")

    def __init__(self, method: Method, pools: PoolsInUse, problems: Counter[str]) -> None:
        self.method = method.short_name
        self._kind = method.kind
        self._shown_pools = pools
        self._problems = problems
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.durations = Durations()

    def answered(self, reply: Message | bytes, pool: str) -> str:
        """The outcome that an answer tells: only a write has another than OK."""
        if self._kind is not Kind.INTAKE:  # which does not ask whether there is such a pool
            self._shown_pools.called(pool)
        return _OUTCOMES[reply.outcome] if self._kind is Kind.WRITE else OK  # type: ignore[union-attr]  # answers of writes are messages that have one

    def failed(self, error: Exception, pool: str) -> None:
        """Notes what its reason does not tell."""
        if isinstance(error, UnauthenticatedError):
            self._problems[error.args[0]] += 1
        elif isinstance(error, RefusedError) and error.status == Status.POOL_NOT_OPEN:
            self._shown_pools.called(pool)

    def ended(self, outcome: str, seconds: float) -> None:
        self.in_flight -= 1
        self.outcomes[outcome] += 1
        self.durations.add(seconds)


class ServiceMetrics(Collector):
    """All that is counted of a service, registered with `registry`."""

    def __init__(self, methods: Iterable[Method], stores: Stores, registry: CollectorRegistry) -> None:
        self.pools = PoolsInUse(stores)
        self._problems: Counter[str] = Counter()
        self.calls = {method.name: CallCounts(method, self.pools, self._problems) for method in methods}
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield from self._of_calls()
        yield from self._of_pools()
        what = "Callers that could not show who they are, by what was wrong."
        problems = CounterMetricFamily("atp_auth_failures", what, labels=("problem",))
        for problem in PROBLEMS:
            problems.add_metric((problem,), self._problems[problem])
        yield problems

    def _of_calls(self) -> Iterator[Metric]:
        what = "Calls answered, by outcome: what the business said, or why they failed."
        calls = CounterMetricFamily("atp_calls", what, labels=("method", "outcome"))
        in_flight = GaugeMetricFamily("atp_calls_in_flight", "Calls taken and not yet answered.", labels=("method",))
        seconds = HistogramMetricFamily("atp_call_seconds", "From taking a call to its answer, failures too.", labels=("method",))
        for counts in self.calls.values():
            method = (counts.method,)
            in_flight.add_metric(method, counts.in_flight)
            if counts.outcomes:
                seconds.add_metric(method, counts.durations.buckets(), counts.durations.seconds)
            for outcome, number in list(counts.outcomes.items()):
                calls.add_metric((*method, outcome), number)
        yield from (calls, in_flight, seconds)

    def _of_pools(self) -> Iterator[Metric]:
        is_open = GaugeMetricFamily("atp_pool_open", "1 while a pool that was called lately takes writes.", labels=("pool",))
        revision = GaugeMetricFamily("atp_pool_revision", "The latest revision of a pool that was called lately.", labels=("pool",))
        what = "Ledger entries of a pool that was called lately that are not in JetStream yet."
        backlog = GaugeMetricFamily("atp_relay_backlog_entries", what, labels=("pool",))
        for pool, info in self.pools.known.items():
            is_open.add_metric((pool,), int(info.open))
            revision.add_metric((pool,), info.revision)
            backlog.add_metric((pool,), info.revision - info.published)
        yield from (is_open, revision, backlog)
