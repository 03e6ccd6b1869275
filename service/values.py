"""Values that stand in many answers: times, and the enums of the contract by the engine's own names."""

from google.protobuf.timestamp_pb2 import Timestamp

from atp.model.status import OUTCOMES, State
from atp.model.verbs import ITEM_STATES, LOCATION_STATES
from inventory.availability.v1 import availability_service_pb2 as availability_pb
from inventory.availability.v1 import reservation_pb2 as pb

#: From the engine's name to the contract's value.
OUTCOME: dict[str, pb.Outcome.ValueType] = {name: pb.Outcome.Value(f"OUTCOME_{name}") for name in OUTCOMES}
STATE: dict[str, pb.Reservation.State.ValueType] = {name: pb.Reservation.State.Value(f"STATE_{name}") for name in State}
#: By the engine's index.
ITEM_STATE = [availability_pb.ItemState.Value(f"ITEM_STATE_{name.upper()}") for name in ITEM_STATES]
NODE_STATE = [availability_pb.NodeState.Value(f"NODE_STATE_{name.upper()}") for name in LOCATION_STATES]


def timestamp(ms: int) -> Timestamp:
    """Milliseconds since the Unix epoch as the contract has them."""
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def set_time(time: Timestamp, ms: int) -> None:
    """The same, into a field that is there: a third of the cost."""
    time.seconds = ms // 1000
    time.nanos = ms % 1000 * 1_000_000


def milliseconds(time: Timestamp) -> int:
    """The millisecond that a time of the contract lies in."""
    return time.seconds * 1000 + time.nanos // 1_000_000
