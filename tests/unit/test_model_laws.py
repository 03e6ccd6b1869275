"""The rules that never bend, as laws over whatever Hypothesis makes up: order, sums, no oversell, once."""

from itertools import pairwise
from typing import NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atp import requests
from atp.model.pool import ModelLimits, Write
from atp.model.stock import Comparison, StockRow
from atp.model.verbs import Adjust, Cancel, Count, Expire, Figures, NodeConfig, Note, Pick, Provision, Ship, SourceConfig, Transfer, Want
from atp.model.window import Window
from tests.unit.model_world import CONTEXT, NODES, RUN, SKUS, START, World

EVENTS_MAX = 24
#: Laws say nothing about time: a slow machine breaks none.
law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
quantities = st.integers(1, 4)
some_skus = st.lists(st.sampled_from(SKUS), min_size=1, unique=True)


masks = st.one_of(st.just(7), st.integers(1, 7))


@st.composite
def figure_events(draw: st.DrawFn, sequence: int, source: str = "wms") -> Adjust | Count:
    """A delta or a snapshot, of some figures or all; a snapshot speaks of the time its sequence stands for."""
    event_id = f"{source}{sequence}"
    if draw(st.integers(0, 3)):
        changes = [Figures(sku, draw(st.integers(-9, 9)), draw(st.integers(0, 2)), draw(st.integers(0, 2))) for sku in draw(some_skus)]
        return Adjust(CONTEXT, event_id, "adjustment", source, "n", sequence, sequence, changes, sequence)
    levels = [
        Figures(sku, draw(st.integers(-9, 9)), draw(st.integers(0, 2)), draw(st.integers(0, 2)), draw(masks), draw(st.integers(0, 3)))
        for sku in draw(some_skus)
    ]
    return Count(CONTEXT, event_id, source, "n", sequence, sequence, START + sequence, levels, sequence)


@st.composite
def stream_events(draw: st.DrawFn, sequence: int) -> Adjust | Count | Ship:
    """As before, or a shipment: one that the order's account has told of under the same id, or one of its own."""
    if draw(st.integers(0, 2)):
        return draw(figure_events(sequence))
    lines = [Want(sku, draw(quantities)) for sku in draw(some_skus)]
    return Ship(CONTEXT, f"e{sequence}", "wms", "n", sequence, sequence, f"S{sequence}", draw(st.sampled_from(["R", ""])), lines)


@st.composite
def streams(draw: st.DrawFn) -> list[Adjust | Count | Ship]:
    return [draw(stream_events(sequence)) for sequence in range(2, 2 + draw(st.integers(1, EVENTS_MAX)))]


def shuffled_with_repeats(draw: st.DrawFn, events: list[Write]) -> list[Write]:
    repeats = draw(st.lists(st.sampled_from(events), max_size=len(events)))
    return draw(st.permutations([*events, *repeats]))


def stock(world: World) -> dict[tuple[str, ...], dict[str, int]]:
    """All figures of all rows, and of what is kept for comparison, but for revisions."""
    found: list[tuple[tuple[str, ...], StockRow | Comparison]] = [*world.pool.rows.items(), *world.pool.compared.items()]
    return {place: {**msgspec.structs.asdict(row), "revision": 0} for place, row in found}


def windows(world: World) -> dict[tuple[str, str, str], Window]:
    """All windows, but for the time at which each last changed its row: that is of the arrival, as revisions are."""
    return {place: msgspec.structs.replace(window, changed_ms=0) for place, window in world.pool.windows.items()}


@law
@given(st.data())
def test_any_shuffle_and_repetition_of_a_stream_ends_in_the_same_stock(data: st.DataObject) -> None:
    """Deltas, snapshots and shipments, among them shipments that an order's account told of before or in between."""
    events = data.draw(streams())
    shipped = [event for event in events if isinstance(event, Ship) and data.draw(st.booleans())]
    numbers = {sku: number for number, sku in enumerate(SKUS, start=1)}
    told = [
        requests.fulfil(
            CONTEXT,
            reservation_id="R",
            shipment_id=event.shipment_id,
            shipped_ms=START + event.sequence,
            lines=[(numbers[line.sku], line.quantity) for line in event.lines],
        )
        for event in shipped
    ]
    ends = []
    for stream in ([*told, *events], shuffled_with_repeats(data.draw, [*told, *events])):
        world = World({"n": dict.fromkeys(SKUS, 1_000)})
        world.sold("R", **dict.fromkeys(SKUS, 500))
        for event in stream:
            assert world.do(event).status in {"OK", "DUPLICATE"}
            world.assert_counts_are_sums()
        ends.append((stock(world), windows(world)))
    assert ends[0] == ends[1]


@law
@given(st.data())
def test_a_stream_that_strays_no_further_than_the_window_is_wide_ends_in_the_same_stock(data: st.DataObject) -> None:
    """At most `width` later events overtake an event: none is below the window; what is repeated beyond it changes nothing."""
    width = data.draw(st.integers(1, 4))
    events = [data.draw(figure_events(sequence)) for sequence in range(1, 1 + data.draw(st.integers(1, EVENTS_MAX)))]
    strayed = sorted(events, key=lambda event: (event.sequence + data.draw(st.integers(0, width)), -event.sequence))
    ends = []
    for stream in (events, strayed):
        world = World(bounds=ModelLimits(window_deltas_max=width))
        for number, event in enumerate(stream):
            assert world.do(event).status in {"OK", "DUPLICATE"}
            before = world.pool.layout()
            again = data.draw(st.sampled_from(stream[: number + 1]))
            assert world.do(again).status in {"DUPLICATE", "SEQUENCE_BELOW_WINDOW"}
            assert world.pool.layout() == before
        ends.append(stock(world))
    assert ends[0] == ends[1]


@law
@given(st.data())
def test_what_several_sources_say_of_a_node_ends_the_same_however_it_is_mixed(data: st.DataObject) -> None:
    """Each of the three is the authority of something else, or of nothing; one is ordered by time, one has taken off what it reserved."""
    events = [
        data.draw(figure_events(sequence, source))
        for source in ("wms", "lab", "erp")
        for sequence in range(2, 2 + data.draw(st.integers(1, EVENTS_MAX // 3)))
    ]
    ends = []
    for stream in (events, shuffled_with_repeats(data.draw, events)):
        world = World()
        assert world.do(SEVERAL_AUTHORITIES).status == "OK"
        for event in stream:
            assert world.do(event).status in {"OK", "DUPLICATE"}
        ends.append((stock(world), windows(world)))
    assert ends[0] == ends[1]


SEVERAL_AUTHORITIES = Provision(
    CONTEXT,
    [NodeConfig("n", "store", "UTC", "wms", damaged_authority="lab")],
    [],
    [SourceConfig("lab", False, order="time"), SourceConfig("erp", True, snapshots="net")],
)


@law
@given(st.data())
def test_a_source_that_has_ids_only_is_believed_once_in_the_order_of_first_arrival(data: st.DataObject) -> None:
    events = [data.draw(figure_events(sequence, "till")) for sequence in range(2, 2 + data.draw(st.integers(1, EVENTS_MAX)))]
    arrived = shuffled_with_repeats(data.draw, events)
    world, plain = World(), {sku: [0, 0, 0] for sku in SKUS}
    world.do(Provision(CONTEXT, [NodeConfig("n", "store", "UTC", "till")], [], [SourceConfig("till", False, order="id")]))
    for number, event in enumerate(arrived):
        assert isinstance(event, Adjust | Count)
        is_new = event not in arrived[:number]
        assert world.do(event).status == ("OK" if is_new else "DUPLICATE")
        for line in event.lines if is_new else ():
            said = (line.on_hand, line.damaged, line.quality_hold)
            for figure, units in enumerate(said):
                if isinstance(event, Adjust):
                    plain[line.sku][figure] += units
                elif line.named & 1 << figure:
                    plain[line.sku][figure] = units
    found = {sku: list(msgspec.structs.astuple(world.pool.row(sku, "n"))[:3]) for sku in SKUS}
    assert found == plain


class Step(NamedTuple):
    """`after_ms` of waiting, then a request."""

    after_ms: int
    request: Write


ids = st.sampled_from(["R1", "R2", "R3"])
keys = st.sampled_from(["k1", "k2", "k3", "k4"])
parts = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=2, unique_by=lambda part: part[0])
ttls = st.sampled_from([1_000, 2_000])
context = st.just(CONTEXT)
commands = st.one_of(
    st.builds(
        requests.reserve,
        context,
        reservation_id=ids,
        own_id=st.just(False),
        channel=st.sampled_from(["web", "web", "depot"]),
        order_reference=st.sampled_from(["", "O"]),
        ttl_ms=ttls,
        partial=st.booleans(),
        nodes=st.lists(st.sampled_from(NODES), unique=True),
        lines=st.lists(st.tuples(st.sampled_from(SKUS), quantities), min_size=1, max_size=3),
    ),
    st.builds(requests.confirm, context, reservation_id=ids, key=keys, reacquire=st.booleans()),
    st.builds(requests.release, context, reservation_id=ids, key=keys, lines=parts),
    st.builds(requests.extend, context, reservation_id=ids, key=keys, ttl_ms=ttls),
    st.builds(
        requests.fulfil,
        context,
        reservation_id=ids,
        shipment_id=st.sampled_from(["S1", "S2"]),
        shipped_ms=st.sampled_from([0, START]),
        lines=parts,
    ),
    st.builds(Expire, context),
)
some_wants = st.lists(st.builds(Want, st.sampled_from(SKUS), quantities), min_size=1, unique_by=lambda line: line.sku)
#: A source and a node that it issues from; what else an event of either says of itself.
issued = st.sampled_from([("wms", "n"), ("wms", "m"), ("wcs", "p")])
sequences = st.integers(2, 9)
prints = st.integers(0, 3)
#: A reservation or an order, as an event names it.
abouts = st.sampled_from([("R1", ""), ("R2", ""), ("", "O"), ("", "")])


@st.composite
def order_events(draw: st.DrawFn) -> Ship | Pick | Transfer | Cancel | Note:
    kind = draw(st.sampled_from(["ship", "pick", "pick", "transfer_out", "transfer_in", "order_cancelled", "pack"]))
    (source, node), sequence, print_ = draw(issued), draw(sequences), draw(prints)
    head = (CONTEXT, f"{kind}{sequence}")
    if kind == "ship":
        shipment = draw(st.sampled_from(["S1", "S2", "S3"]))
        reservation, order = draw(abouts)
        return Ship(*head, source, node, sequence, print_, shipment, reservation, draw(some_wants), 0, order)
    if kind == "pick":
        return Pick(*head, source, node, sequence, print_, *draw(abouts), draw(some_wants))
    if kind == "order_cancelled":
        return Cancel(*head, source, sequence, print_, "O", draw(st.one_of(st.just([]), some_wants)))
    if kind == "pack":
        return Note(*head, kind, source, node, print_, draw(abouts)[0])
    transfer, other = draw(st.sampled_from(["T1", "T2"])), draw(issued)[1]
    return Transfer(*head, kind, source, node, sequence, print_, transfer, other, draw(some_wants))


reports = st.one_of(
    figure_events(2),
    order_events(),
    order_events(),
    st.integers(2, 9).flatmap(figure_events),
    st.builds(
        Ship,
        context,
        st.just("event"),
        st.just("wms"),
        st.sampled_from(NODES),
        sequences,
        prints,
        st.sampled_from(["S1", "S2", "S3"]),
        st.sampled_from(["R1", "R2", ""]),
        some_wants,
    ),
)
steps = st.lists(st.builds(Step, st.sampled_from([0, 0, 500, 1_000]), st.one_of(commands, commands, reports)), max_size=40)
TAKES_STOCK = {"reserve", "confirm"}


@law
@given(steps)
def test_whatever_is_asked_counts_are_sums_nothing_is_oversold_and_everything_happens_once(script: list[Step]) -> None:
    world = World({"n": {"A": 6, "B": 3}, "m": {"A": 2, "B": 2}}, ModelLimits(reap_rows_max=1))
    world.do(Count(CONTEXT, "depot", "wcs", "p", 1, 1, START, [Figures("A", 6, 0, 0), Figures("B", 3, 0, 0)]))
    pool = world.pool
    for after_ms, request in script:
        world.now += after_ms
        while pool.apply(Expire(CONTEXT), world.now, RUN).status == "REAP_MORE":
            pass
        before, revision = pool.layout(), pool.revision
        answer = world.do(request)
        world.assert_counts_are_sums()
        if answer.status != "OK" or answer.replayed:
            assert pool.layout() == before, "only what was done leaves a trace"
            continue
        assert pool.revision == revision + (not isinstance(request, Expire)), "one change, one entry"
        assert answer.revision == pool.revision
        after = pool.layout()
        if pool.entries[-1].verb in TAKES_STOCK and pool.revision > revision:
            taken = {(fact.sku, fact.node) for fact in pool.entries[-1].facts if _claims_more(world, fact.sku, fact.node)}
            assert all(pool.row(*place).uncommitted() >= 0 for place in taken)
        assert world.do(request).status in {"OK", "DUPLICATE", "SEQUENCE_BELOW_WINDOW"}
        assert pool.layout() == after, "the same request again changes nothing"


def _claims_more(world: World, sku: str, node: str) -> bool:
    """Whether the last entry took stock that was free, rather than moving a claim from one term to another."""
    return sum(fact.delta for fact in world.pool.entries[-1].facts if (fact.sku, fact.node) == (sku, node)) > 0


@law
@given(steps)
def test_the_ledger_is_dense_and_its_facts_add_up_to_the_stock(script: list[Step]) -> None:
    world = World()
    for after_ms, request in script:
        world.now += after_ms
        world.do(request)
    entries = world.pool.entries
    assert [entry.revision for entry in entries] == list(range(1, world.pool.revision + 1))
    assert all(earlier.time_ms <= later.time_ms for earlier, later in pairwise(entries))
    total: dict[tuple[str, str, str], int] = {}
    for fact in (fact for entry in entries for fact in entry.facts):
        total[fact.sku, fact.node, fact.term] = total.get((fact.sku, fact.node, fact.term), 0) + fact.delta
    for (sku, node), row in world.pool.rows.items():
        assert all(total.get((sku, node, term), 0) == getattr(row, term) for term in row.__struct_fields__ if term != "revision")
