"""Spans to an OpenTelemetry collector: the only code that knows OpenTelemetry, and only once an endpoint is set."""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from atp.store import Stores
from cli.config import ConfigurationError
from cli.config.sections import TraceSection

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan

CLOSE_S: Final = 5  # what waits is sent at the end, but a collector that is away keeps nobody waiting longer
_FAULTS: Final = {"INTERNAL", "STORE_UNAVAILABLE", "CALL_TIMEOUT", "unsettled"}  # reasons of calls, verdicts on events
_current: "ContextVar[OtelSpan | None]" = ContextVar("span", default=None)


class SpanSender:
    """The tracer of a face: a span a call, or an event, and under it one a round trip to the store."""

    @classmethod
    def of(cls, section: TraceSection, face: str, stores: Stores) -> "SpanSender | None":
        """None if nothing is to be traced. Raises ConfigurationError if the packages for it are not there."""
        if section.endpoint is None:
            return None
        try:
            return cls(section.endpoint, section.ratio, face, stores)
        except ImportError as error:
            missing = f"trace.endpoint: the packages that send traces are not there ({error}): pip install 'atp-promise-engine[trace]'"
            raise ConfigurationError([missing]) from error

    def __init__(self, endpoint: str, ratio: float, face: str, stores: Stores) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._face = face
        resource = Resource.create({"service.name": f"atp-{face}", "service.version": version("atp-promise-engine")})
        self._provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=CLOSE_S)))
        self._tracer = self._provider.get_tracer("atp")
        self._parent = TraceContextTextMapPropagator()
        for store in stores:
            store.observed.listener = self._store_replied

    def begin(self, name: str, traceparent: str) -> "_Span":
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        kind = SpanKind.SERVER if self._face == "service" else SpanKind.CONSUMER
        context = self._parent.extract({"traceparent": traceparent}, Context()) if traceparent else Context()
        span = self._tracer.start_span(name.lstrip("/"), context, kind)
        _current.set(span if span.is_recording() else None)
        return _Span(span)

    def _store_replied(self, script: str, seconds: float) -> None:
        """The span of a round trip, once it is over."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        parent = _current.get()
        if parent is not None:
            now = time.time_ns()
            attributes: dict[str, Any] = {"db.system.name": "redis", "atp.script": script}
            began = now - int(seconds * 1e9)
            span = self._tracer.start_span(f"store {script}", set_span_in_context(parent), SpanKind.CLIENT, attributes, start_time=began)
            span.end(now)

    def close(self) -> None:
        """Sends what waits, and ends."""
        self._provider.shutdown()


class _Span:
    __slots__ = ("_span",)

    def __init__(self, span: "OtelSpan") -> None:
        self._span = span

    def end(self, outcome: str, attributes: Mapping[str, str]) -> None:
        """Names of attributes get our prefix."""
        from opentelemetry.trace import StatusCode

        if self._span.is_recording():
            self._span.set_attributes({"atp.outcome": outcome, **{f"atp.{name}": value for name, value in attributes.items()}})
            if outcome in _FAULTS:
                self._span.set_status(StatusCode.ERROR, outcome)
        self._span.end()
