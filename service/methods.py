"""The table of all methods: what a transport needs to serve each, and nothing of how it does."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple

from google.protobuf.message import Message

from atp.store import Stores
from inventory.availability.v1 import availability_service_pb2 as availability_pb
from inventory.availability.v1 import reservation_service_pb2 as reservation_pb
from service.availability import AvailabilityHandlers
from service.call import Call, Scope
from service.reservations import ReservationHandlers

#: Takes the decoded request; answers with a message, or with the bytes of one. Raises what atp/errors.py lists.
Handler = Callable[[Any, Call], Awaitable[Message | bytes]]

AVAILABILITY_SERVICE = availability_pb.DESCRIPTOR.services_by_name["AvailabilityService"].full_name
RESERVATION_SERVICE = reservation_pb.DESCRIPTOR.services_by_name["ReservationService"].full_name
SERVICES = (AVAILABILITY_SERVICE, RESERVATION_SERVICE)


class Kind(Enum):
    """Whether a call can change anything: a read that failed has left nothing in doubt."""

    READ = "read"
    WRITE = "write"


class Method(NamedTuple):
    """One method; `name` is `/package.Service/Method`."""

    name: str
    request: type[Message]
    handler: Handler
    kind: Kind
    scope: Scope

    @property
    def short_name(self) -> str:
        """Without its service: what logs and metrics call it."""
        return self.name.rpartition("/")[2]


def methods(stores: Stores) -> dict[str, Method]:
    """The table, by name, over all stores."""
    availability, reservations = AvailabilityHandlers(stores), ReservationHandlers(stores)
    read, hold = AVAILABILITY_SERVICE, RESERVATION_SERVICE
    table = (
        Method(
            f"/{read}/BatchGetAvailability",
            availability_pb.BatchGetAvailabilityRequest,
            availability.batch_get,
            Kind.READ,
            Scope.READ,
        ),
        Method(
            f"/{read}/ExplainAvailability",
            availability_pb.ExplainAvailabilityRequest,
            availability.explain,
            Kind.READ,
            Scope.READ,
        ),
        Method(f"/{hold}/Reserve", reservation_pb.ReserveRequest, reservations.reserve, Kind.WRITE, Scope.RESERVE),
        Method(f"/{hold}/Confirm", reservation_pb.ConfirmRequest, reservations.confirm, Kind.WRITE, Scope.RESERVE),
        Method(f"/{hold}/Release", reservation_pb.ReleaseRequest, reservations.release, Kind.WRITE, Scope.RESERVE),
        Method(f"/{hold}/Extend", reservation_pb.ExtendRequest, reservations.extend, Kind.WRITE, Scope.RESERVE),
        Method(f"/{hold}/Fulfil", reservation_pb.FulfilRequest, reservations.fulfil, Kind.WRITE, Scope.RESERVE),
        Method(f"/{hold}/GetReservation", reservation_pb.GetReservationRequest, reservations.get, Kind.READ, Scope.READ),
        Method(
            f"/{hold}/ListReservations",
            reservation_pb.ListReservationsRequest,
            reservations.list_of_order,
            Kind.READ,
            Scope.READ,
        ),
    )
    return {method.name: method for method in table}
