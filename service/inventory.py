"""InventoryService: events and snapshots on their way into the stream that all feeds go to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar, cast

from atp import events, limits
from atp.canonical import ContentError
from atp.errors import CallTimeoutError, IntakeUnavailableError, InvalidRequestError, Violation
from atp.intake import Intake, Taken, in_order
from atp.requests import ID_RULE, Checker, is_id
from inventory.availability.v1 import inventory_service_pb2 as pb
from service import bounds
from service.call import Call
from service.errors import SourceForbiddenError
from service.inventory_event import SnapshotParts, canonical_event

T = TypeVar("T")
#: What becomes of an event.
Fate = Taken | pb.Refusal

_SYNC_ID_RULE = ID_RULE.replace(str(limits.ID_CHARS_MAX), str(limits.SYNC_ID_CHARS_MAX))


class NoIntake:
    """What a service has that was not told where NATS is."""

    async def take(self, pool: str, event: events.Event) -> Taken:
        raise IntakeUnavailableError("the service was not told where NATS is")


class InventoryHandlers:
    """Handlers of the service's methods, over the one way in."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def adjust(self, request: pb.AdjustRequest, call: Call) -> pb.AdjustResponse:
        check = Checker()
        check.name("pool", request.pool)
        check.count("events", len(request.events), 1, limits.ADJUST_EVENTS_MAX)
        check.done()
        response = pb.AdjustResponse()
        await self._take_all(
            _each(request.events),
            lambda told: canonical_event(told, call.correlation),
            lambda _told, fate: response.results.append(_result(fate)),
            call,
        )
        return response

    async def sync(self, requests: AsyncIterator[pb.SyncRequest], call: Call) -> pb.SyncResponse:
        parts = _checked_head(cast(pb.SyncRequest, call.request), call)
        response = pb.SyncResponse()

        def note(part: tuple[int, pb.SyncRequest], fate: Fate) -> None:
            number, told = part
            if isinstance(fate, Taken):
                response.parts_accepted += 1
                response.lines_accepted += len(told.lines)
            else:
                response.parts_refused += 1
                if len(response.refused) < bounds.REFUSED_PARTS_MAX:
                    response.refused.add(part=number, refusal=fate)

        await self._take_all(_numbered(requests), lambda part: parts.part(*part), note, call)
        response.complete = not response.parts_refused and response.parts_accepted == (parts.announced or response.parts_accepted)
        return response

    async def _take_all(
        self, told: AsyncIterator[T], event_of: Callable[[T], events.Event], note: Callable[[T, Fate], None], call: Call
    ) -> None:
        """Takes what is told, many at once, and notes what became of each, in their order."""

        async def fate_of(one: T) -> tuple[T, Fate]:
            return one, await self._fate(lambda: event_of(one), call)

        anything_taken = False
        try:
            async with asyncio.timeout(call.timeout_s), contextlib.aclosing(in_order(told, fate_of)) as fates:
                async for one, fate in fates:
                    anything_taken = anything_taken or isinstance(fate, Taken)
                    note(one, fate)
        except IntakeUnavailableError as error:
            raise IntakeUnavailableError(str(error), outcome_unknown=anything_taken or error.outcome_unknown) from error
        except TimeoutError as error:
            raise CallTimeoutError("the events were not taken before the call's deadline") from error

    async def _fate(self, read: Callable[[], events.Event], call: Call) -> Fate:
        try:
            event = read()
            if not call.identity.speaks_for(event.source):
                wrong = Violation("source", f"{event.source} is not among those that {call.identity.client} speaks for")
                return _refusal(pb.Refusal.REASON_SOURCE_FORBIDDEN, [wrong])
            return await self._intake.take(call.pool, event)
        except InvalidRequestError as error:
            return _refusal(pb.Refusal.REASON_MALFORMED, error.violations)
        except ContentError as error:
            return _refusal(pb.Refusal.REASON_TOO_LARGE, [Violation("", error.detail)])


def _checked_head(told: pb.SyncRequest, call: Call) -> SnapshotParts:
    """What all parts of a snapshot say. Raises InvalidRequestError and SourceForbiddenError."""
    check = Checker()
    check.name("pool", told.pool)
    if not is_id(told.id) or len(told.id) > limits.SYNC_ID_CHARS_MAX:
        check.add("id", _SYNC_ID_RULE)
    parts = SnapshotParts(told, call.correlation)
    check.violations += parts.violations()
    check.done()
    if not call.identity.speaks_for(told.source):
        raise SourceForbiddenError(told.source)
    return parts


async def _each(told: Iterable[T]) -> AsyncIterator[T]:
    for one in told:
        yield one


async def _numbered(told: AsyncIterator[T]) -> AsyncIterator[tuple[int, T]]:
    """With their number, from 1."""
    number = 0
    async for one in told:
        number += 1
        yield number, one


def _result(fate: Fate) -> pb.EventResult:
    if isinstance(fate, Taken):
        return pb.EventResult(outcome=pb.EventResult.OUTCOME_ACCEPTED, stream_sequence=fate.sequence)
    return pb.EventResult(outcome=pb.EventResult.OUTCOME_REFUSED, refusal=fate)


def _refusal(reason: pb.Refusal.Reason.ValueType, violations: list[Violation]) -> pb.Refusal:
    told = violations[: bounds.VIOLATIONS_MAX]
    return pb.Refusal(reason=reason, violations=[pb.FieldViolation(field=field, description=what) for field, what in told])
