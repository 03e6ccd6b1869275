"""A warehouse that reports 5,000 receipts a second until it is stopped. `python -m benchmarks.steady_feed NATS_URL ROUND`."""

import asyncio
import sys
import time

import nats
import uvloop

from benchmarks import feeds

_SLICES = 500  # a second: as of many sources, whose events do not come in bursts
_MOST_S = 12  # so many seconds of messages are made beforehand


async def _feed(url: str, number: str) -> None:
    each = feeds.BUSY_EVENTS_A_SECOND // _SLICES
    messages = feeds.Sequences(after=1_000_000 * (1 + int(number))).messages(each * _SLICES * _MOST_S)
    connection = await nats.connect(url)
    began = time.perf_counter()
    for slice_number in range(_SLICES * _MOST_S):
        for subject, body in messages[slice_number * each : (slice_number + 1) * each]:
            await connection.publish(subject, body)  # without waiting for each ack: what is applied is counted where it counts
        await asyncio.sleep(max(0.0, began + (slice_number + 1) / _SLICES - time.perf_counter()))


if __name__ == "__main__":
    uvloop.run(_feed(*sys.argv[1:]))
