"""What the NATS face tells Prometheus: every metric with its name, its words and its labels; docs/observability.md explains them.

Labels are bounded: pools and sources by provisioning, the others by code. A name that nobody provisioned counts as `other`: anybody can
send one.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from nats.aio.client import Client
from nats.js.api import ConsumerInfo
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from atp import events
from atp.audit import AUDITED_RULES, Audit
from atp.checkpoint import Manifest
from atp.drift import NodeSource, Sums, in_own_units
from atp.model.status import ExceptionReason
from atp.model.views import PoolInfo
from consumers.known_feeds import KnownFeeds

OTHER: Final = "other"
APPLIED: Final = "applied"
DUPLICATE: Final = "duplicate"
PARKED: Final = "parked"

PoolReason = tuple[str, str]

_TYPES: Final = frozenset(kind.__struct_config__.tag for kind in events.Event.__args__)
#: Verdicts that come before the store has said whether there is such a source.
PROVES_NO_SOURCE: Final = {
    ExceptionReason.UNKNOWN_POOL,
    ExceptionReason.UNKNOWN_SOURCE,
    ExceptionReason.MALFORMED,
    ExceptionReason.TOO_LARGE,
    ExceptionReason.WRONG_SUBJECT,
    ExceptionReason.INTERNAL,
}
_HEARTBEAT: Final = events.Heartbeat.__struct_config__.tag
_AGE_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800)
_OUTCOMES: Final = ("taken", "mistakes", "unsigned", "away", "fault")
_PUBLISH_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class ConsumerMetrics:
    """The metrics of all roles of one process; one object per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.nats = NatsMetrics(registry)
        self.feeds = FeedMetrics(registry)
        self.relay = RelayMetrics(registry)
        self.pools = PoolMetrics(registry)
        self.audit = AuditMetrics(registry)
        self.checkpoints = CheckpointMetrics(registry)
        self.drift = DriftMetrics(registry)
        self.exceptions = ExceptionMetrics(registry)
        self.incoming = IncomingMetrics(registry)
        self.last_sweep = Gauge(
            "atp_sweeper_last_sweep_timestamp_seconds",
            "When the holds that are due were last given back, Unix time.",
            ["pool"],
            registry=registry,
        )


class NatsMetrics(Collector):
    """The connection to NATS, looked at when the metrics are asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connection: Client | None = None
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        connection = self.connection
        connected = connection is not None and connection.is_connected
        yield GaugeMetricFamily("atp_nats_connected", "1 while NATS can be reached.", value=connected)
        reconnects = connection.stats["reconnects"] if connection else 0
        yield CounterMetricFamily("atp_nats_reconnects", "Times that the connection to NATS was lost and came back.", value=reconnects)


class _Cell(NamedTuple):
    """What one more event of a kind adds to; `who` are its pool and source, if they are provisioned."""

    events: Counter
    age: Histogram
    who: tuple[str, str] | None
    last: Gauge | None


class FeedMetrics:
    """The role `feeds`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "atp_feed_events",
            "Events settled, by verdict: applied, duplicate, parked, or the reason of the exception.",
            ["pool", "source", "type", "verdict"],
            registry=registry,
        )
        self._age = Histogram(
            "atp_feed_event_age_seconds",
            "Time from JetStream's taking an event to its verdict.",
            ["pool"],
            registry=registry,
            buckets=_AGE_BUCKETS_S,
        )
        self._last = Gauge(
            "atp_feed_last_event_timestamp_seconds",
            "When JetStream took the latest settled event of a source, Unix time.",
            ["pool", "source"],
            registry=registry,
        )
        self._waiting = Gauge("atp_feed_messages_waiting", "Messages that no worker has taken yet.", ["pool"], registry=registry)
        self._in_hand = Gauge("atp_feed_messages_in_hand", "Messages that workers have taken and not settled.", ["pool"], registry=registry)
        self._redelivered = Gauge(
            "atp_feed_messages_redelivered", "Messages in hand that were delivered before.", ["pool"], registry=registry
        )
        self.feeds = KnownFeedMetrics(registry)
        self._heard: dict[tuple[str, str], float] = {}  # provisioned pools and sources: when each was last heard
        #: By subject and verdict, for provisioned pools and sources: looking up labels takes longer than counting.
        self._cells: dict[tuple[str, str], _Cell] = {}

    def settled(self, subject: str, verdict: str, taken_s: float) -> None:
        """Counts a verdict on a message; `taken_s` is when JetStream took it (Unix time)."""
        cell = self._cells.get((subject, verdict)) or self._cell(subject, verdict)
        cell.events.inc()
        cell.age.observe(max(0.0, time.time() - taken_s))
        if cell.who and cell.last and taken_s > self._heard[cell.who]:  # one that waited long came before others that are settled
            self._heard[cell.who] = taken_s
            cell.last.set(taken_s)

    def _cell(self, subject: str, verdict: str) -> "_Cell":
        pool, source, kind = (*subject.split(".")[1:4], "", "", "")[:3]
        # A heartbeat is answered without asking the store whether there is such a source.
        if (verdict not in PROVES_NO_SOURCE and kind != _HEARTBEAT) or self.feeds.is_provisioned(pool, source):
            self._heard.setdefault((pool, source), 0)
        who = (pool, source) if (pool, source) in self._heard else None
        if who is None:
            pool, source = pool if any(pool == known for known, _ in self._heard) else OTHER, OTHER
        kind = kind if kind in _TYPES else OTHER
        last = self._last.labels(*who) if who else None
        cell = _Cell(self._events.labels(pool, source, kind, verdict), self._age.labels(pool), who, last)
        if who and kind != OTHER and subject.count(".") == 3:
            self._cells[subject, verdict] = cell
        return cell

    def wait(self, pool: str, durable: ConsumerInfo) -> None:
        """Shows what JetStream says of a pool's durable."""
        self._waiting.labels(pool).set(durable.num_pending or 0)
        self._in_hand.labels(pool).set(durable.num_ack_pending or 0)
        self._redelivered.labels(pool).set(durable.num_redelivered or 0)


class KnownFeedMetrics(Collector):
    """What was heard of each source and node, as the store has it: every process shows the same, the latest is right."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pools: dict[str, KnownFeeds] = {}
        registry.register(self)

    def found(self, pool: str, feeds: KnownFeeds) -> None:
        self._pools[pool] = feeds

    def lost(self, pool: str) -> None:
        """Nothing is known of the pool now."""
        self._pools.pop(pool, None)

    def is_provisioned(self, pool: str, source: str) -> bool:
        return pool in self._pools and source in self._pools[pool].sources

    def collect(self) -> Iterator[Metric]:
        names = ("pool", "source", "node")
        last = GaugeMetricFamily("atp_feed_last_heard_seconds", "When a source was last heard of at a node, Unix time.", labels=names)
        silent = GaugeMetricFamily("atp_feed_silent_seconds", "For how long nothing was heard of a source at a node.", labels=names)
        missing = GaugeMetricFamily(
            "atp_feed_sequence_gaps", "Sequences below the highest of a source at a node that have not come.", labels=names
        )
        lag = GaugeMetricFamily(
            "atp_feed_lag_seconds", "From the time that the latest event gives itself to JetStream's taking it.", labels=names
        )
        rhythm = GaugeMetricFamily(
            "atp_feed_rhythm_seconds",
            "For how long a source promises to be silent at most, and so of each node where its word counts; 0: it promises nothing.",
            labels=names,
        )
        for pool, feeds in dict(self._pools).items():  # a copy: scrapes come from a thread of their own
            expected = feeds.expected()
            for source, node in {(source, "") for source in feeds.sources} | expected:
                rhythm.add_metric((pool, source, node), feeds.sources[source].rhythm_s)
            for source, node in feeds.heard.keys() | expected:
                if last_ms := feeds.last_ms(source, node):
                    last.add_metric((pool, source, node), last_ms / 1000)
                    silent.add_metric((pool, source, node), feeds.silent_s(source, node, time.time()))
            for (source, node), heard in feeds.heard.items():
                who = (pool, source, node)
                missing.add_metric(who, heard.missing_events)
                lag.add_metric(who, (heard.last_ms - heard.event_ms) / 1000)
        yield from (last, silent, missing, lag, rhythm)


class RelayMetrics:
    """The role `relay`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.backlog = Gauge("atp_relay_backlog_entries", "Ledger entries that are not in JetStream yet.", ["pool"], registry=registry)
        self.active = Gauge(
            "atp_relay_active",
            "1 from the time a batch of this relay is taken until another relay is first or something is in the way, else 0.",
            ["pool"],
            registry=registry,
        )
        self.split = Gauge(
            "atp_relay_split",
            "1 while store and JetStream cannot both be right, so that a person must decide.",
            ["pool"],
            registry=registry,
        )
        self.entries = Counter("atp_relay_entries", "Ledger entries published, by verb.", ["pool", "verb"], registry=registry)
        self.publishing = Histogram(
            "atp_relay_publish_seconds",
            "Time from the sending of a batch to JetStream's ack of it.",
            ["pool"],
            registry=registry,
            buckets=_PUBLISH_BUCKETS_S,
        )

    def published(self, pool: str, verbs: Mapping[str, int], seconds: float) -> None:
        """Notes a batch that JetStream has taken: how many entries of each verb, in which time."""
        self.active.labels(pool).set(1)
        self.publishing.labels(pool).observe(seconds)
        for verb, number in verbs.items():
            self.entries.labels(pool, verb).inc(number)


class AuditMetrics:
    """The role `auditor`. Each auditor audits all: take the maximum over processes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._unbalanced = Gauge(
            "atp_counts_not_sums", "Rows whose counters are not the sum of their records (rule 2): must be 0.", ["pool"], registry=registry
        )
        self._violations = Gauge(
            "atp_audit_violations",
            "Times that the ledger, as far as it was followed, was found to break a rule that never bends.",
            ["pool", "rule"],
            registry=registry,
        )
        self._revision = Gauge("atp_audit_revision", "The revision up to which the ledger was audited.", ["pool"], registry=registry)
        self._begun = Gauge(
            "atp_audit_begun_revision",
            "The revision of the checkpoint with which the audit began: entries behind it were audited. 0: all were.",
            ["pool"],
            registry=registry,
        )
        self._behind = Gauge(
            "atp_audit_behind_entries", "Ledger entries in JetStream that are not audited yet.", ["pool"], registry=registry
        )

    def followed(self, pool: str, audit: Audit) -> None:
        self._unbalanced.labels(pool).set(len(audit.unbalanced))
        self._revision.labels(pool).set(audit.revision)
        self._begun.labels(pool).set(audit.begun)
        for rule in AUDITED_RULES:
            self._violations.labels(pool, str(rule)).set(audit.findings.numbers[rule])

    def behind(self, pool: str, entries: int) -> None:
        self._behind.labels(pool).set(max(0, entries))


class CheckpointMetrics:
    """The checkpoints of each pool, as the role `auditor` finds them, whoever took them: take the maximum over processes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._revision = Gauge("atp_checkpoint_revision", "The revision of the latest checkpoint.", ["pool"], registry=registry)
        self._taken = Gauge(
            "atp_checkpoint_timestamp_seconds", "When the latest checkpoint was taken, Unix time.", ["pool"], registry=registry
        )

    def stands(self, latest: Manifest) -> None:
        self._revision.labels(latest.pool).set(latest.whole)
        self._taken.labels(latest.pool).set(latest.taken_ms / 1000)


class DriftMetrics(Collector):
    """The role `drift`: what its latest pass over each pool found. Every process compares all: take the maximum."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pools: dict[str, tuple[float, dict[NodeSource, Sums]]] = {}
        registry.register(self)

    def found(self, pool: str, sums: dict[NodeSource, Sums]) -> None:
        self._pools[pool] = (time.time(), sums)

    def collect(self) -> Iterator[Metric]:
        names = ("pool", "node", "source")
        compared = GaugeMetricFamily("atp_drift_compared", "SKUs at a node of which a source speaks that does not rule it.", labels=names)
        skus = GaugeMetricFamily("atp_drift_skus", "SKUs that differ beyond the tolerance, and not by timing.", labels=names)
        timing = GaugeMetricFamily("atp_drift_timing_skus", "SKUs that differ so, and may do so by timing.", labels=names)
        units = GaugeMetricFamily(
            "atp_drift_units", "Units by which they differ beyond the tolerance, added up without sign.", labels=names
        )
        value = GaugeMetricFamily("atp_drift_value", "What those units cost, in the currency's own units.", labels=(*names, "currency"))
        last = GaugeMetricFamily("atp_drift_last_run_timestamp_seconds", "When the last pass ended, Unix time.", labels=("pool",))
        for pool, (ended_s, sums) in dict(self._pools).items():  # a copy: scrapes come from a thread of their own
            last.add_metric((pool,), ended_s)
            for where, found in sums.items():
                who = (pool, *where)
                compared.add_metric(who, found.compared)
                skus.add_metric(who, found.beyond)
                timing.add_metric(who, found.timing)
                units.add_metric(who, found.units)
                for currency, worth in found.worth.items():
                    value.add_metric((*who, currency), in_own_units(worth.gross, currency))
        yield from (compared, skus, timing, units, value, last)


class ExceptionMetrics:
    """The stream EXCEPTIONS, as the role `auditor` reads it, whoever publishes there: take the maximum over processes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._published = Counter(
            "atp_exceptions_published", "Exceptions published, opened and resolved ones.", ["pool", "reason"], registry=registry
        )
        self._open = Gauge("atp_exceptions_open", "Exceptions that are open.", ["pool", "reason"], registry=registry)
        self._shown: set[PoolReason] = set()

    def published(self, what: PoolReason) -> None:
        self._published.labels(*what).inc()

    def stand(self, numbers: Mapping[PoolReason, int]) -> None:
        """How many are open now; what was shown before and is not named is 0."""
        self._shown.update(numbers)
        for what in self._shown:
            self._open.labels(*what).set(numbers.get(what, 0))


class PoolMetrics:
    """Pools as a relay finds them in their stores."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge(
            "atp_pool_open",
            "1 while the relay finds the pool open for the run of its store; 0 also if it cannot ask.",
            ["pool"],
            registry=registry,
        )
        self.epoch = Gauge("atp_pool_epoch", "How many times the pool has been opened.", ["pool"], registry=registry)
        self.revision = Gauge("atp_pool_revision", "The pool's latest revision in its store.", ["pool"], registry=registry)

    def found(self, pool: str, info: PoolInfo) -> None:
        self.open.labels(pool).set(info.open)
        self.epoch.labels(pool).set(info.epoch)
        self.revision.labels(pool).set(info.revision)


class IncomingMetrics:
    """The roles `webhooks` and `files`: messages of other systems, before they are events. Feeds are named as they are configured."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "atp_incoming_messages",
            "Webhooks and files, by what became of them: taken, mistakes, unsigned, away or fault.",
            ["feed", "outcome"],
            registry=registry,
        )
        self._events = Counter("atp_incoming_events", "Events of them that JetStream has taken.", ["feed"], registry=registry)
        self._files = Gauge("atp_incoming_files", "Files in the drop folder that are not taken yet.", ["feed"], registry=registry)
        self._clear = Gauge(
            "atp_incoming_files_clear_timestamp_seconds",
            "Up to when all files that came are taken, Unix time: the last look, or when the oldest that is there was first seen.",
            ["feed"],
            registry=registry,
        )

    def begin(self, feed: str) -> None:
        """Shows a feed of which nothing came yet: what begins with its first message is not seen to rise."""
        for outcome in _OUTCOMES:
            self._messages.labels(feed, outcome)

    def message(self, feed: str, outcome: str) -> None:
        self._messages.labels(feed, outcome).inc()

    def events(self, feed: str, taken: int) -> None:
        self._events.labels(feed).inc(taken)

    def files(self, feed: str, waiting: int, clear_s: float) -> None:
        self._files.labels(feed).set(waiting)
        self._clear.labels(feed).set(clear_s)
