"""Where on hand falls at pick: whatever order the word of one history comes in, no more is promised than is there, and it ends the same."""

from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atp import requests
from atp.model.pool import Write
from atp.model.verbs import Count, Figures, Pick, Ship, Want
from tests.unit.model_world import CONTEXT, START, World

STOCK = 20
STEPS_MAX = 14
ORDER_OF = {"R1": "O1", "R2": "O1", "R3": "O1", "R4": "O2"}


class History(NamedTuple):
    """What was sold, and what was said of it: by the source of the node, and by the orders' account."""

    sold: dict[str, int]
    said: list[Write]

    @property
    def free(self) -> int:
        """Units that nobody ever bought: at every moment they are on their shelf."""
        return STOCK - sum(self.sold.values())


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Units are picked, lie ready, and leave or are put back; now and then somebody counts the shelf. Some shipments the order's account
    tells of as well.

    A pick is said to be for a reservation or for its order, as it comes; shipments of one order always name the one or the other.
    """
    sold = {key: draw(st.integers(1, 5)) for key in ORDER_OF}
    to_pick, ready, shelf = dict(sold), dict.fromkeys(sold, 0), STOCK
    names_order = {order: draw(st.booleans()) for order in ("O1", "O2")}
    said: list[Write] = []
    for sequence in range(2, 2 + draw(st.integers(1, STEPS_MAX))):
        key = draw(st.sampled_from(sorted(sold)))
        kind = draw(st.sampled_from(["pick", "pick", "pick", "ship", "ship", "put back", "count"]))
        source = (CONTEXT, f"e{sequence}", "wcs", "p", sequence, sequence)
        if kind == "count":
            said.append(Count(*source, START + sequence, [Figures("A", shelf, 0, 0)]))
        elif kind == "pick" and to_pick[key]:
            units = draw(st.integers(1, to_pick[key]))
            to_pick[key], ready[key], shelf = to_pick[key] - units, ready[key] + units, shelf - units
            said.append(Pick(*source, *named(key, by_order=draw(st.booleans())), [Want("A", units)]))
        elif kind == "put back" and ready[key]:
            units = draw(st.integers(1, ready[key]))
            to_pick[key], ready[key], shelf = to_pick[key] + units, ready[key] - units, shelf + units
            said.append(Pick(*source, *named(key, by_order=draw(st.booleans())), [Want("A", units)], 0, "pick_reversed"))
        elif kind == "ship" and ready[key]:
            units = draw(st.integers(1, ready[key]))
            ready[key] -= units
            reservation, order = named(key, by_order=names_order[ORDER_OF[key]])
            said.append(Ship(*source, f"S{sequence}", reservation, [Want("A", units)], 0, order))
            if draw(st.booleans()):
                said.append(fulfilled(key, f"S{sequence}", START + sequence, units))
    return History(sold, said)


def units_back(message: Pick) -> int:
    """A count that contains units which were put back promises them beside the pick, until it is heard that they were."""
    return message.lines[0].quantity if message.kind == "pick_reversed" else 0


def named(key: str, *, by_order: bool) -> tuple[str, str]:
    return ("", ORDER_OF[key]) if by_order else (key, "")


def fulfilled(key: str, shipment_id: str, shipped_ms: int, units: int) -> Write:
    return requests.fulfil(CONTEXT, reservation_id=key, shipment_id=shipment_id, shipped_ms=shipped_ms, lines=[(1, units)])


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_more_is_promised_than_is_there_and_it_ends_the_same(data: st.DataObject) -> None:
    history = data.draw(histories())
    repeated = data.draw(st.lists(st.sampled_from(history.said), max_size=4)) if history.said else []
    world = World()
    assert world.do(Count(CONTEXT, "e1", "wcs", "p", 1, 1, START - 1, [Figures("A", STOCK, 0, 0)])).status == "OK"
    for key, units in history.sold.items():
        lines = [("A", units)]
        held = requests.reserve(
            CONTEXT,
            reservation_id=key,
            own_id=False,
            channel="depot",
            order_reference=ORDER_OF[key],
            ttl_ms=60_000,
            partial=False,
            nodes=[],
            lines=lines,
        )
        assert world.do(held).status == "OK"
        assert world.confirm(key).status == "OK"
    assert world.pool.available("A", "p", world.now) == history.free
    world.now += 1_000
    unheard = {message.event_id: units_back(message) for message in history.said if isinstance(message, Pick)}
    taken_back = any(unheard.values())
    for message in data.draw(st.permutations([*history.said, *repeated])):
        world.do(message)
        unheard.pop(getattr(message, "event_id", ""), None)
        world.assert_counts_are_sums()
        assert world.pool.available("A", "p", world.now) <= history.free + sum(unheard.values())
        # A pick that is heard of before what was picked first is put back finds nothing; one that is put back always finds its order.
        told = [reason for reason, *_ in world.raised() if "PICK" in reason]
        assert set(told) <= ({"PICK_WITHOUT_ALLOCATION"} if taken_back else set())
    assert world.pool.row("A", "p").uncommitted() == history.free
