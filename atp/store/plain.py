"""Plain commands, one at a time: redis-py for what need not be fast, under the same settings as the scripts' connection."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from atp import limits
from atp.store.settings import StoreSettings

_TIMEOUT_S: Final = limits.CALL_TIMEOUT_MS_DEFAULT / 1000


class _TlsConnection(aioredis.Connection):
    """redis-py's own keeps the first context it made, and adds the system's authorities to those that it is given."""

    def __init__(self, *, make_context: Callable[[], Any], **others: Any) -> None:
        super().__init__(**others)
        self._make_context = make_context

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._make_context()}


def client(settings: StoreSettings) -> aioredis.Redis:
    """A client that is not connected yet. Raises ValueError as `StoreSettings.address` does."""
    at = settings.address()
    kind: type[aioredis.connection.AbstractConnection] = aioredis.Connection
    way: dict[str, Any] = {"host": at.host, "port": at.port}
    if at.path:
        kind, way = aioredis.UnixDomainSocketConnection, {"path": at.path}
    elif at.tls:
        kind, way["make_context"] = _TlsConnection, settings.context
    pool = aioredis.ConnectionPool(
        connection_class=kind,
        **way,
        db=at.database,
        username=at.username or None,
        password=at.password or None,
        protocol=2,
        retry=Retry(NoBackoff(), 0),  # redis-py would run a command again after a lost reply: never here
        socket_timeout=_TIMEOUT_S,
        driver_info=None,  # what would be told of it is a command more, and another right
    )
    made = aioredis.Redis.from_pool(pool)
    made.response_callbacks.clear()  # replies as the server gives them
    return made
