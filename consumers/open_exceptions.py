"""Counts the exceptions that are open, for the metrics, by following the stream EXCEPTIONS whoever publishes there."""

import asyncio
from collections import Counter
from typing import Final

import msgspec
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from atp.exceptions import State
from atp.model.status import ExceptionReason
from consumers import streams
from consumers.connection import AWAY, Outage
from consumers.metrics import OTHER, ExceptionMetrics, PoolReason
from consumers.pools import Pools
from consumers.pull import fetch, is_alive, passing_consumer

_FETCH_MESSAGES: Final = 200
_FETCH_S: Final = 1.0


class _Head(msgspec.Struct, frozen=True):
    """What is counted of an exception; the rest, which may be long, is skipped unread."""

    reason: str
    state: State


_decode_head = msgspec.json.Decoder(_Head).decode


class _MissedError(Exception):
    """The reading consumer is gone or skipped a message: all is read again."""


class OpenExceptions:
    """Counts the open exceptions of all pools, by how each stands, and every one that is published meanwhile."""

    def __init__(self, js: JetStreamContext, pools: Pools, metrics: ExceptionMetrics) -> None:
        self._js = js
        self._pools = pools
        self._metrics = metrics
        self._open: dict[str, PoolReason] = {}  # by subject
        self._seen = 0  # the stream's sequence up to which exceptions were counted as published

    async def follow(self, stop: asyncio.Event) -> None:
        outage = Outage("the count of exceptions")
        while not stop.is_set():
            try:
                await self._read(stop, outage)
            except (_MissedError, *AWAY) as error:
                await outage.wait(error, stop)

    async def _read(self, stop: asyncio.Event, outage: Outage) -> None:
        config = ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject=streams.exception_subject("*", "*"))
        async with passing_consumer(self._js, streams.EXCEPTIONS, config) as subscription:
            outage.over()
            if not self._seen:  # those before are nobody's news
                self._seen = (await self._js.stream_info(streams.EXCEPTIONS)).state.last_seq
            self._open.clear()
            expected = 1
            while not stop.is_set():
                messages = await fetch(subscription, _FETCH_MESSAGES, _FETCH_S)
                for message in messages:
                    if message.metadata.sequence.consumer != expected:
                        raise _MissedError("messages of the stream were missed")
                    expected += 1
                    self._note(message.subject, message.data, message.metadata.sequence.stream)
                self._metrics.stand(Counter(map(self._labels, self._open.values())))
                if not messages and not await is_alive(subscription):
                    raise _MissedError("the consumer is gone")

    def _note(self, subject: str, data: bytes, sequence: int) -> None:
        try:
            head = _decode_head(data)
        except msgspec.DecodeError:
            return  # not ours
        what = (subject.split(".")[1], head.reason)
        if sequence > self._seen:
            self._seen = sequence
            self._metrics.published(self._labels(what))
        if head.state == "open":
            self._open[subject] = what
        else:
            self._open.pop(subject, None)

    def _labels(self, what: PoolReason) -> PoolReason:
        """Exceptions tell of any name that an event brings; metrics of those that somebody provisioned."""
        pool, reason = what
        return pool if pool in self._pools.names else OTHER, reason if reason in ExceptionReason.__members__ else OTHER
