"""`Store`: every verb and read of the engine as an async call; one object per store server and event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import msgspec
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from atp import ledger, limits
from atp.errors import CallTimeoutError, RefusedError, StoreRefusedError, StoreUnavailableError
from atp.model.heard import News
from atp.model.status import Status
from atp.model.stock import ACTIVE, TERMS, ItemRecord, LocationRecord, StockRow
from atp.model.verbs import (
    Adjust,
    Cancel,
    Complete,
    Confirm,
    Context,
    Count,
    Expire,
    Extend,
    Fulfil,
    Locate,
    Note,
    Park,
    Pick,
    Provision,
    Register,
    Release,
    Repair,
    Reserve,
    Result,
    SetItemStates,
    SetLocationState,
    Ship,
    Transfer,
    Unpark,
)
from atp.model.views import Availability, AvailabilityLine, Explanation, LedgerRecord, PoolInfo, Reservation, TermChanges
from atp.store import plain, records, scripts
from atp.store.bulk import Bulk
from atp.store.link import Link
from atp.store.observed import StoreObserved
from atp.store.settings import StoreSettings
from atp.store.term_changes import Search

Write = (
    Reserve
    | Confirm
    | Release
    | Extend
    | Fulfil
    | Expire
    | Adjust
    | Count
    | Complete
    | Ship
    | Pick
    | Transfer
    | Cancel
    | Note
    | Register
    | SetItemStates
    | Locate
    | SetLocationState
    | Park
    | Unpark
    | Provision
    | Repair
)

_encode = msgspec.msgpack.Encoder().encode
_decode_result = msgspec.msgpack.Decoder(Result).decode
_decode_row = msgspec.msgpack.Decoder(StockRow).decode
_decode_item = msgspec.msgpack.Decoder(ItemRecord).decode
_decode_location = msgspec.msgpack.Decoder(LocationRecord).decode
_DEFAULT_TIMEOUT_S = limits.CALL_TIMEOUT_MS_DEFAULT / 1000
_REAP = Expire(Context("engine"))


class _ReadHead(msgspec.Struct, array_like=True):
    """What a reading script says before its data.

    `due` are (SKU, node, units, units of them picked) of holds to leave out, `shut` nodes that promise nothing.
    """

    status: str
    detail: list[str]
    revision: int
    time_ms: int
    nodes: list[str] = []
    due: list[tuple[str, str, int, int]] = []
    shut: list[str] = []


_decode_names = msgspec.msgpack.Decoder(list[str]).decode
_decode_head = msgspec.msgpack.Decoder(_ReadHead).decode


class _Read(NamedTuple):
    head: _ReadHead
    cells: list[Any]


class Store:
    """Raises StoreUnavailableError, StoreBusyError, CallTimeoutError from every call."""

    def __init__(
        self, where: StoreSettings | str, *, clock: Callable[[], int] | None = None, bounds: Mapping[str, int] | None = None
    ) -> None:
        """`clock` (ms) and `bounds` (names of atp/limits.py) are for tests; raises ValueError for an address that cannot be read."""
        settings = where if isinstance(where, StoreSettings) else StoreSettings(where)
        self._scripts = scripts.load(bounds)
        self._link = Link(settings, self._scripts, clock)
        self._writes = {verb: self._scripts[verb.__name__.lower()] for verb in Write.__args__}
        self._redis = plain.client(settings)
        self._searches = asyncio.Semaphore(limits.EXPLAIN_SEARCHES_MAX)
        self.bulk = Bulk(self._link, self._scripts, self._command)

    @classmethod
    async def connect(cls, where: StoreSettings | str) -> Self:
        """A store that is there. Raises StoreUnavailableError if it is away; `start` keeps trying instead."""
        store = cls(where)
        try:
            await store._link.start()
        except StoreUnavailableError:
            await store.close()
            raise
        return store

    async def start(self) -> None:
        """Connects, or goes on trying in the background if the store is away."""
        try:
            await self._link.start()
        except StoreUnavailableError:
            return

    @property
    def connected(self) -> bool:
        """Whether calls can be sent now."""
        return self._link.connected

    @property
    def in_flight(self) -> int:
        """Calls of verbs and reads that wait for their reply."""
        return self._link.in_flight

    @property
    def observed(self) -> StoreObserved:
        """What is counted of its calls."""
        return self._link.observed

    @property
    def where(self) -> str:
        """The server, as it may be shown."""
        return self._link.where

    async def close(self) -> None:
        await self._link.close()
        await self._redis.aclose()

    # --- writing --------------------------------------------------------------------------------------------------
    async def write(self, pool: str, request: Write, *, timeout_s: float | None = None) -> Result:
        """Runs one writing verb, reaping due holds as often as it takes. Outcomes and refusals come back in `Result.status`."""
        script, payload, key = self._writes[type(request)], _encode(request), f"{{{pool}}}:pool"
        timeout = _DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
        for _ in range(limits.REAP_ROUNDS_MAX):
            result = _decode_result(await self._link.run_script(script, key, (payload,), timeout))
            if result.status == Status.POOL_NOT_OPEN and await self._link.learn_run():
                continue  # opened for a run that the connection did not know of yet
            if result.status != Status.REAP_MORE:
                return result
        raise CallTimeoutError("more holds are due than one call can give back; try again")

    async def write_all(self, pool: str, requests: Sequence[Adjust | Ship]) -> list[Result]:
        """Runs several of one verb in one call, one after the other as if each had come by itself; their results in that order.

        A pool that takes none of them is not asked again: each has that refusal, REAP_MORE too. An error leaves open which were run.
        """
        script, payloads = self._writes[type(requests[0])], tuple(map(_encode, requests))
        replies = await self._link.run_script(script, f"{{{pool}}}:pool", payloads, _DEFAULT_TIMEOUT_S)
        if isinstance(replies, bytes):
            return [_decode_result(replies)] * len(requests)
        return list(map(_decode_result, replies))

    async def open(self, pool: str, expected_epoch: int, published: int) -> Result:
        """Opens the pool for this run of the server. DUPLICATE if another opened it first."""
        return await self._internal(pool, "open", _encode((expected_epoch, published)))

    async def close_pool(self, pool: str, expected_epoch: int) -> Result:
        """Refuses all writes until the pool is opened. DUPLICATE if another opened it meanwhile."""
        return await self._internal(pool, "close", _encode((expected_epoch,)))

    async def replay(self, pool: str, entries: list[bytes]) -> None:
        """Applies entries that the store lost, in order; the pool must not be open. Raises RefusedError if they do not follow on."""
        result = await self._internal(pool, "replay", *entries)
        if result.status != Status.OK:
            raise RefusedError(Status(result.status), result.detail)

    async def published(self, pool: str, revision: int) -> None:
        """Notes that JetStream has all up to `revision`, and trims behind it. Raises RefusedError if the pool is not open."""
        result = await self._internal(pool, "published", _encode((revision,)))
        if result.status != Status.OK:
            raise RefusedError(Status(result.status), result.detail)

    async def tell_heard(self, pool: str, news: list[News]) -> None:
        """Merges what was heard into what is known of each source and node. Raises RefusedError if the pool is not open."""
        result = await self._internal(pool, "heard", _encode(news))
        if result.status != Status.OK:
            raise RefusedError(Status(result.status), result.detail)

    async def _internal(self, pool: str, name: str, *arguments: bytes) -> Result:
        reply = await self._link.run_script(self._scripts[name], f"{{{pool}}}:pool", arguments, _DEFAULT_TIMEOUT_S)
        return _decode_result(reply)

    # --- reading --------------------------------------------------------------------------------------------------
    async def _read(self, pool: str, name: str, request: object, timeout_s: float | None = None) -> _Read:
        """A reading script's answer. Where too many holds are due to leave them out one by one, they are given back first."""
        timeout = _DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
        payload = _encode(request)
        for _ in range(limits.REAP_ROUNDS_MAX):
            reply = await self._link.run_script(self._scripts[name], f"{{{pool}}}:pool", (payload,), timeout)
            head = _decode_head(reply[0])
            if head.status == Status.OK:
                return _Read(head, reply[1:])
            if head.status != Status.REAP_MORE:
                raise RefusedError(Status(head.status), head.detail or [pool])
            reaped = await self.write(pool, _REAP, timeout_s=timeout_s)
            if reaped.status != Status.OK:
                raise RefusedError(Status(reaped.status), reaped.detail or [pool])
        raise CallTimeoutError("more holds are due than one call can give back; try again")

    async def availability(
        self, pool: str, channel: str, nodes: list[str], skus: list[str], *, timeout_s: float | None = None
    ) -> Availability:
        """Rows of `skus` at `nodes` (empty: the channel's).

        Raises RefusedError: UNKNOWN_POOL, UNKNOWN_CHANNEL, UNKNOWN_NODE, NODE_NOT_IN_CHANNEL.
        """
        lines: list[AvailabilityLine] = []
        time_ms = 0
        while len(lines) < len(skus):
            rest = skus[len(lines) :]
            read = await self._read(pool, "availability", (channel, nodes, rest), timeout_s)
            nodes = read.head.nodes
            lines += _availability_lines(rest, read)  # as many as one script may read
            time_ms = time_ms or read.head.time_ms
        return Availability(nodes, lines, time_ms)

    async def explain(self, pool: str, sku: str, node: str, *, timeout_s: float | None = None) -> Explanation:
        """Raises RefusedError: UNKNOWN_POOL, UNKNOWN_NODE, UNKNOWN_SKU."""
        head, (item, cell, entry, config, location) = await self._read(pool, "explain", (sku, node), timeout_s)
        row = _decode_row(cell) if cell else StockRow()
        due, picked = _due_units(head).get((sku, node), (0, 0))
        row.reserved -= due
        row.picked -= picked
        found = ledger.decode_entry(entry) if entry else None
        node_state = _decode_location(location).state if location else ACTIVE
        authorities = records.authorities(config)
        return Explanation(_decode_item(item), row, node_state, due, head.revision, head.time_ms, found, authorities)

    async def term_changes(self, pool: str, sku: str, node: str, revision: int, *, timeout_s: float | None = None) -> TermChanges:
        """The last change of each term of a row whose last change was `revision`, as far back as time and bounds allow."""
        search = Search(partial(self._entries, pool), sku, node, revision, TERMS)
        budget_s = min(limits.EXPLAIN_SEARCH_MS_MAX / 1000, (_DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s) / 2)
        ends = asyncio.get_running_loop().time() + budget_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await self._searches.acquire()
            try:
                while not search.done and asyncio.get_running_loop().time() < ends:
                    await search.step()
            finally:
                self._searches.release()
        return search.result

    async def ledger_entry(self, pool: str, revision: int) -> ledger.Entry | None:
        """The entry of a revision, if the store still has it."""
        found = await self._entries(pool, revision, revision)
        return ledger.decode_entry(found[0]) if found else None

    async def get_reservation(self, pool: str, reservation_id: str, *, timeout_s: float | None = None) -> Reservation:
        """Raises RefusedError: UNKNOWN_POOL, UNKNOWN_RESERVATION."""
        found = await self._reservations(pool, ("id", reservation_id), timeout_s)
        if not found:
            raise RefusedError(Status.UNKNOWN_RESERVATION, [reservation_id])
        return found[0]

    async def reservations_of_order(self, pool: str, order_reference: str, *, timeout_s: float | None = None) -> list[Reservation]:
        """All of them (at most ORDER_RESERVATIONS_MAX), by creation. Raises RefusedError: UNKNOWN_POOL."""
        found = await self._reservations(pool, ("order", order_reference), timeout_s)
        return sorted(found, key=lambda reservation: reservation.created_revision)

    async def open_reservations(self, pool: str, offset: int, count: int) -> list[Reservation]:
        """HELD and CONFIRMED ones, newest first."""
        return await self._reservations(pool, ("open", offset, count), None)

    async def _reservations(self, pool: str, request: object, timeout_s: float | None) -> list[Reservation]:
        head, cells = await self._read(pool, "reservations", request, timeout_s)
        pairs = zip(cells[::2], cells[1::2], strict=True)
        return [records.reservation(name.decode(), flat, head.revision, head.time_ms) for name, flat in pairs]

    async def read_keys(self, pool: str, names: list[str]) -> tuple[int, dict[str, dict[bytes, bytes]]]:
        """Up to 500 HASH or ZSET keys at one revision, bytes as stored (scores as integers in text); absent ones are left out."""
        read = await self.bulk.read(pool, names)
        return read.revision, {name: read.key(name) for name, flat in read.flat.items() if flat}

    async def left_out(self, pool: str, node: str, source: str, place: int, skus: list[str]) -> list[str]:
        """Of these SKUs those with figures of the node and source that neither the snapshot of this place has nor a later one."""
        read = await self._read(pool, "leftout", (node, source, place, skus))
        return _decode_names(read.cells[0])

    # --- what need not be fast: redis-py ---------------------------------------------------------------------------
    async def pool_info(self, pool: str) -> PoolInfo:
        """Raises StoreUnavailableError too if the scripts' connection is away: whether the pool is open is then not known."""
        run = await self._link.current_run()
        fields = await self._command("HMGET", f"{{{pool}}}:pool", "rev", "epoch", "time", "run", "pub", "load")
        revision, epoch, time_ms, published = (int(fields[i] or 0) for i in (0, 1, 2, 4))
        is_open = (fields[3] or b"").decode() == run
        return PoolInfo(revision, epoch, time_ms, published, is_open, loading=fields[5] is not None)

    async def pools(self) -> list[str]:
        """Names of the pools that the server has keys of."""
        return sorted({key[1:].split("}", 1)[0] async for page in self.bulk.scan("{*}:pool") for key in page})

    async def scan_keys(self, pool: str) -> list[str]:
        """Names, without the prefix, of all keys of the pool at some time during the call, in no order."""
        return list({name async for page in self.bulk.names(pool) for name in page})

    async def scan_skus(self, pool: str, at_most: int) -> AsyncIterator[list[str]]:
        """SKUs that have rows or are registered, page by page; one that is there all the time comes at least once."""
        prefix = f"{{{pool}}}:stk:"
        cursor = b"0"
        while True:
            cursor, page = await self._command("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", at_most)
            for start in range(0, len(page), at_most):
                yield [key.decode().removeprefix(prefix) for key in page[start : start + at_most]]
            if int(cursor) == 0:
                return

    async def ledger_after(self, pool: str, revision: int, count: int) -> list[LedgerRecord]:
        """Up to `count` entries after `revision` that the store still has."""
        rows = await self._command("XRANGE", f"{{{pool}}}:ledger", f"({revision}-0", "+", "COUNT", count)
        return [records.ledger_record(entry_id, fields) for entry_id, fields in rows]

    async def _entries(self, pool: str, first: int, last: int) -> list[bytes]:
        """Entries from one revision up to and with another that the store still has; without the exceptions they raised."""
        rows = await self._command("XRANGE", f"{{{pool}}}:ledger", f"{first}-0", f"{last}-0")
        return [fields[1] for _, fields in rows]

    async def waiting(self, pool: str, name: str) -> AsyncIterator[dict[str, str]]:
        """Events parked until an item has that name, page by page: key → the event as it came."""
        where = f"{{{pool}}}:wait:{name}"
        keys = await self._command("HKEYS", where)
        for start in range(0, len(keys), limits.WAITING_READ_MAX):
            some = keys[start : start + limits.WAITING_READ_MAX]
            originals = await self._command("HMGET", where, *some)
            yield {key.decode(): original.decode() for key, original in zip(some, originals, strict=True) if original is not None}

    async def parked(self, pool: str, name: str, key: str) -> str | None:
        """One of them; none if it waits no longer."""
        original = await self._command("HGET", f"{{{pool}}}:wait:{name}", key)
        return None if original is None else str(original.decode())

    async def _command(self, *words: str | int | bytes) -> Any:
        """One command over redis-py, reply as the server gives it."""
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            reply = await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        except (AuthenticationError, NoPermissionError) as error:
            refused = StoreRefusedError(f"{words[0]!s} at the store at {self.where}: {error}")
            self._link.tell_refusal(refused)
            raise refused from error
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(f"{words[0]!s}: {error}") from error
        if task and task.cancelling() > cancels:
            # redis-py sends under wait_for, which in Python 3.11 loses a cancellation that comes as the sending ends.
            raise asyncio.CancelledError
        return reply


def _due_units(head: _ReadHead) -> dict[tuple[str, str], tuple[int, int]]:
    """What due holds have of each row: units, and units of them picked."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for sku, node, units, picked in head.due:
        before = found.get((sku, node), (0, 0))
        found[sku, node] = before[0] + units, before[1] + picked
    return found


def _availability_lines(skus: list[str], read: _Read) -> list[AvailabilityLine]:
    head, cells = read
    due = _due_units(head)
    lines = []
    shut = frozenset(head.shut)
    width = 1 + len(head.nodes)
    for index, sku in enumerate(skus[: len(cells) // width]):
        item, *rows = cells[index * width : (index + 1) * width]
        found = [(node, _decode_row(cell)) for node, cell in zip(head.nodes, rows, strict=True) if cell]
        if due:
            for node, row in found:
                units, picked = due.get((sku, node), (0, 0))
                row.reserved -= units
                row.picked -= picked
        lines.append(AvailabilityLine(sku, _decode_item(item) if item else None, found, head.revision, shut))
    return lines
