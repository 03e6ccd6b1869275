"""Takes events into JetStream, for all ways in: one connection, many at once, and a word at once while it is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from nats.aio import client as nats_client
from nats.js.errors import APIError, NoStreamResponseError

from atp import events, intake, limits
from atp.errors import IntakeUnavailableError
from atp.intake import Taken
from consumers import streams
from consumers.connection import AWAY, NatsSettings, close, connect

_ACK_S: Final = limits.INTAKE_ACK_MS_MAX / 1000


class JetStreamIntake:
    """Is `atp.intake.Intake`. Until it has a connection it takes nothing.

    Its messages have no `Nats-Msg-Id`: whoever may publish an event could use the id of another's first, and JetStream would swallow that.
    """

    def __init__(self, connection: nats_client.Client | None = None) -> None:
        self._connection = connection
        self._places = asyncio.Semaphore(limits.INTAKE_IN_FLIGHT_MAX)

    async def take(self, pool: str, event: events.Event) -> Taken:
        packed = intake.pack(pool, event)
        async with self._places:
            if self._connection is None or not self._connection.is_connected:  # it would wait in this process, where nothing is safe
                raise IntakeUnavailableError("NATS is away")
            js = self._connection.jetstream()
            try:
                ack = await js.publish(packed.subject, packed.data, timeout=_ACK_S, stream=streams.INVENTORY)
            except (NoStreamResponseError, APIError) as error:
                raise IntakeUnavailableError(f"JetStream does not take events: {error}") from error
            except AWAY as error:
                raise IntakeUnavailableError(f"JetStream does not answer: {error}", outcome_unknown=True) from error
        return Taken(ack.seq)

    async def connect(self, where: NatsSettings | str, name: str) -> None:
        """Returns once there is a connection, however long that takes."""
        self._connection = await connect(where, name)

    async def close(self) -> None:
        if self._connection is not None:
            await close(self._connection)


@contextlib.asynccontextmanager
async def reaching(where: NatsSettings | str, name: str) -> AsyncIterator[JetStreamIntake]:
    """An intake with a connection of its own, which is made in the background: NATS that is away keeps nothing from starting."""
    made = JetStreamIntake()
    connecting = asyncio.create_task(made.connect(where, name), name=f"connect {name}")
    try:
        yield made
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await made.close()
