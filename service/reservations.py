"""ReservationService: the verbs that hold stock and settle it, and what is held."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

from google.protobuf.message import Message

from atp import limits, requests
from atp.errors import InvalidRequestError, RefusedError
from atp.model.status import OPEN_STATES, Status
from atp.model.verbs import Result
from atp.model.views import Reservation
from atp.requests import Checker, is_name
from atp.store import Stores
from atp.store.store import Write
from inventory.availability.v1 import reservation_pb2 as types
from inventory.availability.v1 import reservation_service_pb2 as pb
from service import bounds, page_token
from service.call import Call
from service.errors import subject
from service.uuid7 import uuid7
from service.values import OUTCOME, STATE, milliseconds, set_time, timestamp

P = ParamSpec("P")
VerbT = TypeVar("VerbT", bound=Write)
AnswerT = TypeVar("AnswerT", bound=Message)


class ReservationHandlers:
    """Handlers of the service's methods, each over the store that has the pool."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    # --- verbs ----------------------------------------------------------------------------------------------------
    async def reserve(self, request: pb.ReserveRequest, call: Call) -> pb.ReserveResponse:
        callers_id = request.reservation_id
        verb = _checked(
            request.pool,
            requests.reserve,
            call.context,
            reservation_id=callers_id or uuid7(),
            own_id=not callers_id,
            channel=request.channel,
            order_reference=request.order_reference,
            ttl_ms=request.ttl_ms or limits.HOLD_TTL_MS_DEFAULT,
            partial=request.partial,
            nodes=list(request.nodes),
            lines=[(line.sku, line.quantity) for line in request.lines],
        )
        result = await self._write(request, verb, call)
        return _answer(pb.ReserveResponse(), verb.reservation_id, result)

    async def confirm(self, request: pb.ConfirmRequest, call: Call) -> pb.ConfirmResponse:
        verb = _checked(request.pool, requests.confirm, **_operation(request, call), reacquire=request.reacquire)
        result = await self._write(request, verb, call)
        return _answer(pb.ConfirmResponse(), verb.reservation_id, result)

    async def release(self, request: pb.ReleaseRequest, call: Call) -> pb.ReleaseResponse:
        verb = _checked(request.pool, requests.release, **_operation(request, call), lines=_parts(request.lines))
        result = await self._write(request, verb, call)
        return _answer(pb.ReleaseResponse(), verb.reservation_id, result)

    async def extend(self, request: pb.ExtendRequest, call: Call) -> pb.ExtendResponse:
        ttl_ms = request.ttl_ms or limits.HOLD_TTL_MS_DEFAULT
        verb = _checked(request.pool, requests.extend, **_operation(request, call), ttl_ms=ttl_ms)
        result = await self._write(request, verb, call)
        return _answer(pb.ExtendResponse(), verb.reservation_id, result)

    async def fulfil(self, request: pb.FulfilRequest, call: Call) -> pb.FulfilResponse:
        verb = _checked(
            request.pool,
            requests.fulfil,
            call.context,
            reservation_id=request.reservation_id,
            shipment_id=request.shipment_id,
            shipped_ms=milliseconds(request.ship_time),  # unset reads as 0: now
            lines=_parts(request.lines),
        )
        result = await self._write(request, verb, call)
        return _answer(pb.FulfilResponse(), verb.reservation_id, result)

    async def _write(self, request: Any, verb: Write, call: Call) -> Result:
        """The result of a verb whose answer is the business's; any other answer is raised as RefusedError."""
        result = await self._stores.of(request.pool).write(request.pool, verb, timeout_s=call.timeout_s)
        if result.status not in OUTCOME:
            status = Status(result.status)
            raise RefusedError(status, result.detail or subject(status, request))
        return result

    # --- reads ----------------------------------------------------------------------------------------------------
    async def get(self, request: pb.GetReservationRequest, call: Call) -> pb.GetReservationResponse:
        check = Checker()
        check.name("pool", request.pool)
        check.id("reservation_id", request.reservation_id)
        check.done()
        found = await self._stores.of(request.pool).get_reservation(request.pool, request.reservation_id, timeout_s=call.timeout_s)
        return pb.GetReservationResponse(reservation=_reservation(found), revision=found.revision, read_time=timestamp(found.time_ms))

    async def list_of_order(self, request: pb.ListReservationsRequest, call: Call) -> pb.ListReservationsResponse:
        check = Checker()
        check.name("pool", request.pool)
        check.id("order_reference", request.order_reference)
        if request.page_size < 0:
            check.add("page_size", "must not be negative")
        scope = (request.pool, request.order_reference)
        after = page_token.decode(request.page_token, scope) if request.page_token else 0
        if after is None:
            check.add("page_token", "must be the next_page_token of an answer for this pool and order_reference")
        check.done()
        found = await self._stores.of(request.pool).reservations_of_order(*scope, timeout_s=call.timeout_s)
        rest = [reservation for reservation in found if reservation.created_revision > (after or 0)]
        page = list(_page(rest, min(request.page_size or limits.PAGE_SIZE_DEFAULT, limits.PAGE_SIZE_MAX)))
        more = page_token.encode(page[-1].created_revision, scope) if len(page) < len(rest) else ""
        return pb.ListReservationsResponse(reservations=map(_reservation, page), next_page_token=more)


# --- from the contract ------------------------------------------------------------------------------------------------
def _checked(pool: str, build: Callable[P, VerbT], *args: P.args, **kwargs: P.kwargs) -> VerbT:
    """A verb that atp.requests has checked. What is wrong with the pool's name is told together with the rest."""
    if is_name(pool):
        return build(*args, **kwargs)
    check = Checker()
    check.name("pool", pool)
    try:
        verb = build(*args, **kwargs)
    except InvalidRequestError as error:
        check.violations += error.violations
    check.done()
    return verb


def _operation(request: Any, call: Call) -> dict[str, Any]:
    """What all operations on a reservation carry."""
    return {"context": call.context, "reservation_id": request.reservation_id, "key": request.operation_key or uuid7()}


def _parts(lines: Iterable[types.Part]) -> list[tuple[int, int]]:
    return [(line.number, line.quantity) for line in lines]


# --- to the contract --------------------------------------------------------------------------------------------------
def _answer(response: AnswerT, reservation_id: str, result: Result) -> AnswerT:
    """Fills in a response, field by field: half the cost of making the parts first. A verb answers with nothing its response lacks."""
    answer: Any = response
    answer.outcome = OUTCOME[result.status]
    answer.reservation_id = reservation_id
    answer.state = STATE.get(result.state or result.status, types.Reservation.STATE_UNSPECIFIED)  # a state that is the outcome, or none
    answer.revision = result.revision
    answer.replayed = result.replayed
    set_time(answer.time, result.time_ms)
    if result.expire_ms:
        set_time(answer.expire_time, result.expire_ms)
    for move in result.moves:
        answer.moves.add(number=move.number, sku=move.sku, node=move.node, quantity=move.quantity)
    for line in result.short:
        answer.shortfalls.add(sku=line.sku, requested=line.requested, available=line.available)
    if result.status == Status.EXCEEDS_HELD:
        answer.exceeding_lines.extend(map(int, result.detail))
    return response


def _reservation(found: Reservation) -> types.Reservation:
    is_open = found.state in OPEN_STATES
    return types.Reservation(
        reservation_id=found.reservation_id,
        state=STATE[found.state],
        channel=found.channel,
        order_reference=found.order_reference,
        create_time=timestamp(found.created_ms),
        expire_time=timestamp(found.expire_ms) if found.expire_ms else None,
        create_revision=found.created_revision,
        lines=[
            types.ReservationLine(
                number=line.number,
                sku=line.sku,
                node=line.node,
                quantity=line.quantity,
                released=line.released,
                shipped=line.shipped,
                open=line.open if is_open else 0,
            )
            for line in found.lines
        ],
        shortfalls=[types.Shortfall(sku=line.sku, requested=line.requested, available=line.available) for line in found.short],
    )


def _page(reservations: list[Reservation], size: int) -> Iterator[Reservation]:
    """The first ones that fit a page: at most `size`, and at most PAGE_LINES_MAX lines unless the first alone has more."""
    lines = 0
    for index, reservation in enumerate(reservations[:size]):
        lines += len(reservation.lines)
        if index and lines > bounds.PAGE_LINES_MAX:
            return
        yield reservation
