"""Reads what an audit begins with: the keys of a checkpoint, and the entries up to where it is whole."""

import contextlib
from collections.abc import Awaitable, Callable

from nats.js import JetStreamContext

from atp.audit import Start
from atp.checkpoint import Manifest
from atp.ledger import decode_entry
from consumers import checkpoints
from consumers.ledger_reader import read_ledger


async def start_with(js: JetStreamContext, manifest: Manifest, give_way: Callable[[], Awaitable[None]], *, comparing: bool) -> Start:
    """Raises TornCheckpointError, LedgerGapError, and the nats errors of a server that is away; `comparing` as for the audit to come."""
    start = Start(manifest, comparing=comparing)
    async with contextlib.aclosing(checkpoints.read(js, manifest)) as messages:
        async for pieces in messages:
            for piece in pieces:
                start.put(piece)
                await give_way()
    async with contextlib.aclosing(read_ledger(js, manifest.pool, manifest.after)) as ledger:
        async for entries in ledger:
            for data in entries:
                if start.is_whole:
                    return start
                start.apply(decode_entry(data))
                await give_way()
    return start
