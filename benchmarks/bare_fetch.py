"""The yardstick of feeds: fetches what a durable has and acks it, nothing else. `python -m benchmarks.bare_fetch NATS_URL DURABLE`."""

import contextlib
import sys

import nats
import nats.errors
import uvloop

from consumers import streams

_FETCH = 500


async def _fetch_for_ever(url: str, durable: str) -> None:
    connection = await nats.connect(url)
    subscription = await connection.jetstream().pull_subscribe_bind(durable, streams.INVENTORY)
    while True:
        with contextlib.suppress(nats.errors.TimeoutError):
            for message in await subscription.fetch(_FETCH, timeout=1):
                await message.ack()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_fetch_for_ever(*sys.argv[1:]))
