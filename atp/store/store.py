"""`Store`: every verb and read of the engine as an async call; one object per store server and event loop."""

from typing import Self

from atp.model.verbs import Adjust, Confirm, Count, Expire, Extend, Fulfil, Park, Provision, Register, Release, Reserve, Result, Ship, Unpark
from atp.model.views import Availability, Explanation, LedgerRecord, PoolInfo, Reservation

Write = Reserve | Confirm | Release | Extend | Fulfil | Expire | Adjust | Count | Ship | Register | Park | Unpark | Provision


class Store:
    """Raises StoreUnavailableError, StoreBusyError, CallTimeoutError from every call."""

    @classmethod
    async def connect(cls, url: str) -> Self:
        """A store on `redis://…` or `unix://…`. Returns at once connected, or raises StoreUnavailableError; reconnects by itself later."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def write(self, pool: str, request: Write, *, timeout_s: float | None = None) -> Result:
        """Runs one writing verb, reaping due holds as often as it takes. Outcomes and refusals come back in `Result.status`."""
        raise NotImplementedError

    async def availability(
        self, pool: str, channel: str, nodes: list[str], skus: list[str], *, timeout_s: float | None = None
    ) -> Availability:
        """Rows of `skus` at `nodes` (empty: the channel's). Raises RefusedError: UNKNOWN_POOL, UNKNOWN_CHANNEL, UNKNOWN_NODE, NODE_NOT_IN_CHANNEL."""
        raise NotImplementedError

    async def explain(self, pool: str, sku: str, node: str, *, timeout_s: float | None = None) -> Explanation:
        """Raises RefusedError: UNKNOWN_POOL, UNKNOWN_NODE, UNKNOWN_SKU."""
        raise NotImplementedError

    async def get_reservation(self, pool: str, reservation_id: str, *, timeout_s: float | None = None) -> Reservation:
        """Raises RefusedError: UNKNOWN_POOL, UNKNOWN_RESERVATION."""
        raise NotImplementedError

    async def reservations_of_order(self, pool: str, order_reference: str, *, timeout_s: float | None = None) -> list[Reservation]:
        """All of them (at most ORDER_RESERVATIONS_MAX), by creation. Raises RefusedError: UNKNOWN_POOL."""
        raise NotImplementedError

    async def open_reservations(self, pool: str, offset: int, count: int) -> list[Reservation]:
        """HELD and CONFIRMED ones, newest first."""
        raise NotImplementedError

    async def pool_info(self, pool: str) -> PoolInfo:
        raise NotImplementedError

    async def pools(self) -> list[str]:
        """Names of the pools that the server has keys of."""
        raise NotImplementedError

    async def open(self, pool: str, expected_epoch: int, published: int) -> Result:
        """Opens the pool for this run of the server. DUPLICATE if another opened it first."""
        raise NotImplementedError

    async def replay(self, pool: str, entries: list[bytes]) -> None:
        """Applies entries that the store lost, in order; the pool must not be open. Raises RefusedError if they do not follow its revision."""
        raise NotImplementedError

    async def ledger_after(self, pool: str, revision: int, count: int) -> list[LedgerRecord]:
        """Up to `count` entries after `revision` that the store still has."""
        raise NotImplementedError

    async def published(self, pool: str, revision: int) -> None:
        """Notes that JetStream has all up to `revision`, and trims behind it."""
        raise NotImplementedError

    async def waiting(self, pool: str, sku: str) -> dict[str, str]:
        """Events parked until `sku` is registered: key → the event as it came."""
        raise NotImplementedError

    async def scan_keys(self, pool: str) -> list[str]:
        """Names, without the prefix, of all keys of the pool at some time during the call, in no order."""
        raise NotImplementedError

    async def read_keys(self, pool: str, names: list[str]) -> tuple[int, dict[str, dict[bytes, bytes]]]:
        """The contents of up to 500 HASH or ZSET keys at one revision, bytes as stored (scores as integers in text); absent ones are left out."""
        raise NotImplementedError
