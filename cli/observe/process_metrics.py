"""Metrics that every process has, whichever face it runs: itself, its event loop, its stores."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from atp.observed import Readiness
from atp.store import Store, Stores
from cli.observe.heartbeat import Heartbeat

_FAILURES: Final = {
    "busy": "StoreBusyError",
    "timeout": "CallTimeoutError",
    "unavailable": "StoreUnavailableError",
    "refused": "StoreRefusedError",
}


def register(registry: CollectorRegistry, stores: Stores, heartbeat: Heartbeat, readiness: Readiness) -> None:
    """Registers them all."""
    ProcessCollector(registry=registry)
    registry.register(_OfProcess(heartbeat, readiness))
    registry.register(_OfStores(stores))


class _OfProcess(Collector):
    def __init__(self, heartbeat: Heartbeat, readiness: Readiness) -> None:
        self._heartbeat = heartbeat
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("atp_build", "Which version runs.", {"version": version("atp-promise-engine")})
        lag = "How late the event loop was at the worst moment of the last 15 seconds."
        yield GaugeMetricFamily("atp_event_loop_lag_seconds", lag, self._heartbeat.lag_s)
        yield GaugeMetricFamily("atp_ready", "1 if the process should be sent work, as /ready says it.", int(not self._readiness.why_not()))


class _OfStores(Collector):
    def __init__(self, stores: Stores) -> None:
        self._stores = _named(stores)

    def collect(self) -> Iterator[Metric]:
        label = ("store",)
        connected = GaugeMetricFamily("atp_store_connected", "1 while calls can be sent to the store.", labels=label)
        in_flight = GaugeMetricFamily("atp_store_calls_in_flight", "Calls sent to the store whose reply has not come.", labels=label)
        reconnects = CounterMetricFamily("atp_store_reconnects", "Connections made after the first one was lost.", labels=label)
        what = "Calls the store did not answer: busy ones were not sent, others may have run."
        failures = CounterMetricFamily("atp_store_failures", what, labels=("store", "reason"))
        what = "From sending a script to having its reply."
        round_trips = HistogramMetricFamily("atp_store_round_trip_seconds", what, labels=("store", "script"))
        for name, store in self._stores.items():
            seen = store.observed
            connected.add_metric((name,), int(store.connected))
            in_flight.add_metric((name,), store.in_flight)
            reconnects.add_metric((name,), max(0, seen.connects - 1))
            for reason, error in _FAILURES.items():
                failures.add_metric((name, reason), seen.failures[error])
            for script, durations in seen.round_trips.items():
                if any(durations.counts):
                    round_trips.add_metric((name, script), durations.buckets(), durations.seconds)
        yield from (connected, in_flight, reconnects, failures, round_trips)


def _named(stores: Stores) -> dict[str, Store]:
    """By where they are; a second one at the same place by its number too."""
    seen: Counter[str] = Counter()
    named = {}
    for store in stores:
        seen[store.where] += 1
        again = f" #{seen[store.where]}" if seen[store.where] > 1 else ""
        named[store.where + again] = store
    return named
