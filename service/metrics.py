"""What the service counts of its calls, and how Prometheus is told: plain numbers on the hot path, metrics when they are asked for."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from atp.store.observed import Durations
from inventory.availability.v1.reservation_pb2 import Outcome
from service.methods import Kind, Method

CANCELLED: Final = "CANCELLED"  # the caller went away before its answer
OK: Final = "OK"
_OUTCOMES: Final = {number: name.removeprefix("OUTCOME_") for name, number in Outcome.items()}


class CallCounts:
    """Calls of one method; kept by the event loop, read by any thread."""

    __slots__ = ("_has_outcome", "durations", "in_flight", "method", "outcomes")

    def __init__(self, method: Method) -> None:
        self.method = method.short_name
        self._has_outcome = method.kind is Kind.WRITE
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.durations = Durations()

    def outcome_of(self, reply: Message | bytes) -> str:
        """The outcome that an answer tells: a read has none but OK."""
        return _OUTCOMES[reply.outcome] if self._has_outcome else OK  # type: ignore[union-attr]  # answers of writes are messages that have one

    def ended(self, outcome: str, seconds: float) -> None:
        self.in_flight -= 1
        self.outcomes[outcome] += 1
        self.durations.add(seconds)


class ServiceMetrics(Collector):
    """All that is counted of a service, registered with `registry`."""

    def __init__(self, methods: Iterable[Method], registry: CollectorRegistry) -> None:
        self.calls = {method.name: CallCounts(method) for method in methods}
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        what = "Calls answered, by outcome: what the business said, or why they failed."
        calls = CounterMetricFamily("atp_calls", what, labels=("method", "outcome"))
        in_flight = GaugeMetricFamily("atp_calls_in_flight", "Calls taken and not yet answered.", labels=("method",))
        seconds = HistogramMetricFamily("atp_call_seconds", "From taking a call to its answer, failures too.", labels=("method",))
        for counts in self.calls.values():
            in_flight.add_metric((counts.method,), counts.in_flight)
            seconds.add_metric((counts.method,), counts.durations.buckets(), counts.durations.seconds)
            for outcome, number in list(counts.outcomes.items()):
                calls.add_metric((counts.method, outcome), number)
        yield from (calls, in_flight, seconds)
