"""Where the service shows what it does."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from atp.observed import Readiness, Tracer


@dataclass(frozen=True)
class Observers:
    """By default it shows itself to nobody."""

    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    readiness: Readiness = field(default_factory=Readiness)
    tracer: Tracer | None = None
