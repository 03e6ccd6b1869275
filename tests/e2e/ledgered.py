"""Puts a pool's ledger into JetStream the way the relay does, a few entries a message, and breaks it on request."""

import contextlib
from collections.abc import AsyncIterator

from nats.js import JetStreamContext

from atp.ledger import decode_entry
from consumers import ledger_writer, streams
from consumers.connection import connect_once
from tests.selling import Selling


@contextlib.asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    connection = await connect_once(url, "test")
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def publish(js: JetStreamContext, pool: str, entries: list[bytes], *, batch: int = 3) -> None:
    """Appends entries behind what the pool's stream has; the stream is made if it is not there."""
    await js.add_stream(streams.ledger(pool))
    position, _ = await ledger_writer.learn(js, pool)
    for at in range(0, len(entries), batch):
        group = entries[at : at + batch]
        position = await ledger_writer.append(js, pool, position, group, decode_entry(group[-1]).epoch)


async def publish_all(nats_url: str, selling: Selling, *, but: int = 0) -> None:
    """Publishes a pool's whole ledger but for its last entries."""
    entries = await selling.entries()
    async with jetstream(nats_url) as js:
        await publish(js, selling.pool, entries[: len(entries) - but])
