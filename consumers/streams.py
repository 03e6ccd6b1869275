"""Names and explicit configuration of every stream and consumer. `provision` applies it; workers only bind.

Durability is the server's setting: with `sync_interval: always` an acknowledged message is on disk.
"""

from collections.abc import Container
from typing import Final

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from atp import limits

INVENTORY: Final = "INVENTORY"
EXCEPTIONS: Final = "EXCEPTIONS"
FEEDS_OF_ALL_POOLS: Final = "feeds"  # of an earlier version: where it ends, the consumers of the pools begin

INVENTORY_AGE_S: Final = 7 * 24 * 3600
assert INVENTORY_AGE_S * 1000 < limits.SHIPMENT_RETENTION_MS, "a shipment that is delivered again must still be known"
INVENTORY_BYTES_MAX: Final = 2 * 1024**3
EXCEPTIONS_BYTES_MAX: Final = 1024**3
EXCEPTION_HISTORY_MAX: Final = 10  # messages kept per exception: opened, resolved, opened again …
DEDUPE_WINDOW_S: Final = 120
#: Of events: JetStream compares ids over all sources, so who used another's first would have that swallowed. It has no shorter one.
SHORTEST_DEDUPE_WINDOW_S: Final = 0.1
FEED_ACK_PENDING_MAX: Final = 2_000  # in the hands of all workers of a pool

CHECKPOINT_SLOTS: Final = 3  # two that count, and one to write the next into
MANIFEST: Final = "manifest"  # the message that closes a checkpoint

_LEDGER_PREFIX = "LEDGER-"
_CHECKPOINT_PREFIX = "CHECKPOINT-"


def ledger_stream(pool: str) -> str:
    """The stream that keeps a pool's ledger."""
    return _LEDGER_PREFIX + pool


def ledger_subject(pool: str) -> str:
    return f"ledger.{pool}"


def pool_of_ledger(stream: str) -> str | None:
    """The pool whose ledger a stream keeps; none if it is another stream."""
    return stream.removeprefix(_LEDGER_PREFIX) if stream.startswith(_LEDGER_PREFIX) else None


def checkpoint_stream(pool: str) -> str:
    """The stream that keeps a pool's checkpoints."""
    return _CHECKPOINT_PREFIX + pool


def checkpoint_subject(pool: str, slot: int, part: int | str) -> str:
    """A message of the checkpoint in a slot: by its number, or MANIFEST."""
    return f"checkpoint.{pool}.{slot}.{part}"


def exception_subject(pool: str, digest: str) -> str:
    return f"exc.{pool}.{digest}"


def inventory() -> StreamConfig:
    """Events as the sources sent them. Past its age or bytes the oldest go: a feed that is further behind than that has lost some."""
    return StreamConfig(
        name=INVENTORY,
        description="Canonical inventory events, inv.<pool>.<source>.<type>",
        subjects=["inv.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_age=INVENTORY_AGE_S,
        max_bytes=INVENTORY_BYTES_MAX,
        duplicate_window=SHORTEST_DEDUPE_WINDOW_S,
        allow_direct=True,
    )


def ledger(pool: str) -> StreamConfig:
    """The ledger of one pool, kept whole: no limit, and nothing can be deleted. A full disk refuses new entries, it drops no old ones."""
    return StreamConfig(
        name=ledger_stream(pool),
        description=f"The ledger of pool {pool}: contiguous entries, one batch a message",
        subjects=[ledger_subject(pool)],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_age=0,
        max_bytes=-1,
        duplicate_window=DEDUPE_WINDOW_S,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
    )


def checkpoint(pool: str) -> StreamConfig:
    """The checkpoints of one pool. A new one takes the place of the oldest, message by message: nothing has to be deleted."""
    return StreamConfig(
        name=checkpoint_stream(pool),
        description=f"Checkpoints of pool {pool}: its keys, copied from time to time, so that not all of the ledger has to be replayed",
        subjects=[f"checkpoint.{pool}.*.*"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_age=0,
        max_msgs_per_subject=1,
        duplicate_window=DEDUPE_WINDOW_S,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
    )


def exceptions() -> StreamConfig:
    """What a person must see. The last message of a subject is the exception as it stands; the oldest go when the bytes are full."""
    return StreamConfig(
        name=EXCEPTIONS,
        description="Exceptions, exc.<pool>.<digest of the id>",
        subjects=["exc.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_age=0,
        max_bytes=EXCEPTIONS_BYTES_MAX,
        max_msgs_per_subject=EXCEPTION_HISTORY_MAX,
        duplicate_window=DEDUPE_WINDOW_S,
        allow_direct=True,
    )


def feed_durable(pool: str) -> str:
    """The durable consumer of a pool's events: all workers of the role `feeds` share it."""
    return f"feeds-{pool}"


def is_fed(subject: str, pools: Container[str]) -> bool:
    """Whether the durable consumer of one of these pools is given a subject."""
    tokens = subject.split(".", 2)
    return len(tokens) > 2 and tokens[1] in pools


def feed(pool: str) -> ConsumerConfig:
    """The durable of one pool. No limit of deliveries: verdicts on content are ours, and a failing server costs no tries."""
    return ConsumerConfig(
        name=feed_durable(pool),
        durable_name=feed_durable(pool),
        description=f"Applies the events of pool {pool} to its store",
        filter_subject=f"inv.{pool}.>",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=limits.FEED_ACK_WAIT_MS / 1000,
        max_deliver=-1,
        max_ack_pending=FEED_ACK_PENDING_MAX,
    )
