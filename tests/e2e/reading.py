"""Reads the stream INVENTORY as whoever applies its events does."""

from nats.js.api import ConsumerConfig

from atp import canonical, events
from cli.embedded import NatsServer
from consumers import streams
from consumers.connection import connect_once
from consumers.pull import fetch, passing_consumer


async def in_stream(server: NatsServer, pool: str) -> list[events.Event]:
    """The events of a pool, in their order."""
    client = await connect_once(server.url, "test")
    found: list[events.Event] = []
    try:
        config = ConsumerConfig(filter_subject=f"inv.{pool}.>")
        async with passing_consumer(client.jetstream(), streams.INVENTORY, config) as subscription:
            left = (await subscription.consumer_info()).num_pending or 0
            while len(found) < left:
                found += [canonical.decode(message.subject, message.data).event for message in await fetch(subscription, 200, 5)]
    finally:
        await client.close()
    return found
