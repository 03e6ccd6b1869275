"""The gRPC service as the commands see it: one channel, one deadline, and errors as sentences with what to do next."""

import contextlib
import re
from collections.abc import Iterator
from typing import Final, NamedTuple, cast

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from cli import exit_codes
from cli.exit_codes import CommandError
from inventory.availability.v1 import availability_service_pb2 as availability
from inventory.availability.v1 import reservation_pb2 as pb
from inventory.availability.v1 import reservation_service_pb2 as rpc
from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub

__all__ = ["TIMEOUT_S", "Client", "as_json", "availability", "connect", "outcome", "pb", "rpc", "state", "time_ms"]

TIMEOUT_S: Final = 10.0
_NAMES: Final = re.compile(r" \(.*\)\. ", re.DOTALL)


class Client(NamedTuple):
    """The services of one address."""

    availability: AvailabilityServiceStub
    reservations: ReservationServiceStub


@contextlib.contextmanager
def connect(address: str) -> Iterator[Client]:
    """The service at `host:port`, for the calls of one command. What fails raises CommandError."""
    with grpc.insecure_channel(address) as channel:
        try:
            yield Client(AvailabilityServiceStub(channel), ReservationServiceStub(channel))
        except grpc.RpcError as error:
            raise _for_people(error, address) from error


def _for_people(error: grpc.RpcError, address: str) -> CommandError:
    """The service's own sentence, which names the reason and what to do next, and each field that was wrong."""
    expected = exit_codes.from_error(error)
    code = exit_codes.UNREACHABLE if expected is None else expected.exit_code
    call = cast(grpc.Call, error)  # what a stub raises is both
    status = rpc_status.from_call(call)
    if status is None:  # not an answer of the service: the call did not get there, or its answer not back
        if call.code() is grpc.StatusCode.UNAVAILABLE:
            return CommandError(f"no service answers at {address}: start it with `atp up`, or say --address. ({call.details()})", code)
        return CommandError(f"{call.code().name}: {call.details()}", code)
    fields = [f"\n  {wrong.field} {wrong.description}" for wrong in _violations(status)]
    # Where each field has a line of its own, the names in the sentence are too many.
    message = _NAMES.sub(". ", status.message, count=1) if fields else status.message
    return CommandError(message + "".join(fields), code)


def _violations(status: Status) -> Iterator[BadRequest.FieldViolation]:
    for detail in status.details:
        bad = BadRequest()
        if detail.Unpack(bad):
            yield from bad.field_violations


def as_json(message: Message) -> str:
    """An answer as the contract's JSON: its field names, every field, numbers of 64 bits as text."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def outcome(value: pb.Outcome.ValueType) -> str:
    """The engine's own name."""
    return pb.Outcome.Name(value).removeprefix("OUTCOME_")


def state(value: pb.Reservation.State.ValueType) -> str:
    return pb.Reservation.State.Name(value).removeprefix("STATE_")


def time_ms(time: Timestamp) -> int:
    return time.ToMilliseconds()
