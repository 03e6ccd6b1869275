"""Provisions a pool from a file: streams and consumers in NATS; nodes, channels and sources in the store. Running it again is harmless."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NotFoundError

from atp.errors import RefusedError
from atp.model.status import Status
from atp.model.verbs import Context, Provision, SourceConfig
from atp.store import Store, StoreSettings
from consumers import provision_file, streams
from consumers.connection import NatsSettings, connect_once
from consumers.opening import open_pool
from consumers.provision_file import PoolFile

Outcome = Literal["made", "changed", "unchanged", "kept"]
_CONTEXT: Final = Context("provision")
_CFG: Final = "cfg"
_PROVISIONED: Final = (b"node:", b"channel:", b"source:")  # beside what feeds say of locations


class Item(NamedTuple):
    """One thing provisioned; `kept` says that the store has it and the file does not name it: provisioning takes nothing away."""

    kind: str
    name: str
    outcome: Outcome


class ProvisionReport(NamedTuple):
    """What became of everything the file asks for."""

    pool: str
    items: list[Item]
    sources: list[SourceConfig]

    @property
    def changed(self) -> bool:
        return any(item.outcome in {"made", "changed"} for item in self.items)

    def __str__(self) -> str:
        lines = [f"  {item.outcome:<9} {item.kind} {item.name}" for item in self.items]
        return "\n".join([f"Pool {self.pool}: {'provisioned' if self.changed else 'nothing to change'}", *lines])


async def provision(path: Path, store_of: Callable[[str], StoreSettings | str], nats: NatsSettings | str) -> ProvisionReport:
    """Applies the file, opening the pool for this run of its store if it is closed; `store_of` tells which store has a pool.

    Raises InvalidRequestError with every mistake of the file, before anything is touched; StoreUnavailableError, OSError or a nats
    error if a server is away; SplitHistoryError if store and JetStream do not agree.
    """
    wanted = await asyncio.to_thread(provision_file.read, path)
    store = await Store.connect(store_of(wanted.pool))
    try:
        connection = await connect_once(nats, "atp provision")
        try:
            js = connection.jetstream()
            items = await apply_streams(js, wanted.pool)
            await open_pool(js, store, wanted.pool)
            items += await apply_pool(store, wanted)
        finally:
            await connection.close()
    finally:
        await store.close()
    return ProvisionReport(wanted.pool, items, wanted.sources)


async def apply_streams(js: JetStreamContext, pool: str) -> list[Item]:
    """Makes the streams and consumers of one pool, or changes them to what `consumers/streams.py` says."""
    wanted = (streams.inventory(), streams.exceptions(), streams.ledger(pool), streams.checkpoint(pool))
    items = [await _apply_stream(js, config) for config in wanted]
    return [*items, await _apply_consumer(js, streams.feed(pool), await _end_of_earlier_version(js))]


async def _apply_stream(js: JetStreamContext, wanted: StreamConfig) -> Item:
    name = wanted.name or ""
    try:
        found = (await js.stream_info(name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return Item("stream", name, "made")
    if not _differs(wanted.as_dict(), found.as_dict()):
        return Item("stream", name, "unchanged")
    await js.update_stream(wanted)
    return Item("stream", name, "changed")


async def _end_of_earlier_version(js: JetStreamContext) -> int:
    """The message up to which the one consumer of an earlier version has settled the events of all pools; 0 if there is none."""
    try:
        settled = (await js.consumer_info(streams.INVENTORY, streams.FEEDS_OF_ALL_POOLS)).ack_floor
    except NotFoundError:
        return 0
    return settled.stream_seq if settled else 0


async def _apply_consumer(js: JetStreamContext, wanted: ConsumerConfig, settled: int) -> Item:
    """A new one begins behind what was `settled` without it."""
    stream, name = streams.INVENTORY, wanted.name or ""
    try:
        found = (await js.consumer_info(stream, name)).config
    except NotFoundError:
        if settled:
            wanted = wanted.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=settled + 1)
        await js.add_consumer(stream, wanted)
        return Item("consumer", name, "made")
    wanted = wanted.evolve(deliver_policy=found.deliver_policy, opt_start_seq=found.opt_start_seq)
    if not _differs(wanted.as_dict(), found.as_dict()):
        return Item("consumer", name, "unchanged")
    await js.add_consumer(stream, wanted)
    return Item("consumer", name, "changed")


def _differs(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a setting that we make differs; the server fills in others, and those are its own."""
    return any(value != found.get(key) for key, value in wanted.items() if value is not None)


async def apply_pool(store: Store, wanted: PoolFile) -> list[Item]:
    """Writes what is new or differs in the pool, which must be open."""
    _, contents = await store.read_keys(wanted.pool, [_CFG])
    result = await store.write(wanted.pool, Provision(_CONTEXT, wanted.nodes, wanted.channels, wanted.sources))
    if result.status != Status.OK:
        raise RefusedError(Status(result.status), result.detail)
    return _compare(_fields(wanted), contents.get(_CFG, {}))


def _fields(wanted: PoolFile) -> dict[str, object]:
    """The fields of `cfg` as `docs/verbs.md` states them."""
    fields: dict[str, object] = {}
    fields.update({f"node:{node.id}": list(msgspec.structs.astuple(node))[1:] for node in wanted.nodes})
    fields.update({f"channel:{channel.id}": channel.nodes for channel in wanted.channels})
    fields.update({f"source:{source.id}": _source(source) for source in wanted.sources})
    return fields


def _source(source: SourceConfig) -> list[object]:
    registers = [int(source.registers_items), int(source.registers_locations)]
    return [*registers, source.order, source.on_hand_falls, source.snapshots, source.rhythm_s]


def _compare(wanted: Mapping[str, object], kept: Mapping[bytes, bytes]) -> list[Item]:
    before = {name.decode(): msgspec.msgpack.decode(value) for name, value in kept.items() if name.startswith(_PROVISIONED)}
    return list(_items(wanted, before))


def _items(wanted: Mapping[str, object], before: Mapping[str, object]) -> Iterable[Item]:
    for field, value in wanted.items():
        outcome: Outcome = "made" if field not in before else "unchanged" if before[field] == value else "changed"
        yield _item(field, outcome)
    for field in sorted(before.keys() - wanted.keys()):
        yield _item(field, "kept")


def _item(field: str, outcome: Outcome) -> Item:
    kind, _, name = field.partition(":")
    return Item(kind, name, outcome)
