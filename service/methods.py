"""The table of all methods: what a transport needs to serve each, and nothing of how it does."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple

from google.protobuf.message import Message

from atp.intake import Intake
from atp.store import Stores
from inventory.availability.v1 import availability_service_pb2 as availability_pb
from inventory.availability.v1 import inventory_service_pb2 as inventory_pb
from inventory.availability.v1 import reservation_service_pb2 as reservation_pb
from service.availability import AvailabilityHandlers
from service.call import Call, Scope
from service.inventory import InventoryHandlers
from service.reservations import ReservationHandlers

#: Takes the decoded request, or all of them from a caller that streams; answers with a message, or with the bytes of one. Raises what
#: atp/errors.py lists.
Handler = Callable[[Any, Call], Awaitable[Message | bytes]]

AVAILABILITY_SERVICE = availability_pb.DESCRIPTOR.services_by_name["AvailabilityService"].full_name
RESERVATION_SERVICE = reservation_pb.DESCRIPTOR.services_by_name["ReservationService"].full_name
INVENTORY_SERVICE = inventory_pb.DESCRIPTOR.services_by_name["InventoryService"].full_name
SERVICES = (AVAILABILITY_SERVICE, RESERVATION_SERVICE, INVENTORY_SERVICE)


class Kind(Enum):
    """Whether a call can change anything: a read that failed has left nothing in doubt. What an intake takes is decided later."""

    READ = "read"
    WRITE = "write"
    INTAKE = "intake"


class Method(NamedTuple):
    """One method; `name` is `/package.Service/Method`."""

    name: str
    request: type[Message]
    handler: Handler
    kind: Kind
    scope: Scope
    streams: bool = False  # whether the caller sends requests one after the other; the first says which pool they are about

    @property
    def short_name(self) -> str:
        """Without its service: what logs and metrics call it."""
        return self.name.rpartition("/")[2]


def methods(stores: Stores, intake: Intake) -> dict[str, Method]:
    """The table, by name, over all stores and the way in."""
    availability, reservations, inventory = AvailabilityHandlers(stores), ReservationHandlers(stores), InventoryHandlers(intake)
    read, hold, tell = AVAILABILITY_SERVICE, RESERVATION_SERVICE, INVENTORY_SERVICE
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
        Method(f"/{tell}/Adjust", inventory_pb.AdjustRequest, inventory.adjust, Kind.INTAKE, Scope.FEED),
        Method(f"/{tell}/Sync", inventory_pb.SyncRequest, inventory.sync, Kind.INTAKE, Scope.FEED, streams=True),
    )
    return {method.name: method for method in table}
