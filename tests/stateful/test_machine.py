"""A Hypothesis machine: random verbs, events, clock steps, lost replies and restarts, on the model and the scripts side by side.

After each step every answer, the whole pool, the facts of each ledger entry and the replay of its after-images are compared.
"""

import asyncio
import os
from typing import Any, ClassVar

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from atp import requests
from atp.ledger import Fact, decode_entry
from atp.model.verbs import (
    Adjust,
    Cancel,
    Complete,
    Count,
    Expire,
    Figures,
    ItemLine,
    ItemState,
    Locate,
    NodeConfig,
    Note,
    Park,
    Pick,
    Provision,
    Register,
    Repair,
    RepairLine,
    SetItemStates,
    SetLocationState,
    Ship,
    Transfer,
    Unpark,
    Want,
)
from atp.replay import Replay
from atp.store.store import Write
from cli.embedded import StoreServer
from tests.pair import CONTEXT, Pair

#: Bounds low enough to be met.
BOUNDS = {
    "WINDOW_DELTAS_MAX": 4,
    "REAP_ROWS_MAX": 3,
    "SCRIPT_ROWS_MAX": 5,
    "OPERATIONS_FOR_ANY": 3,
    "ORDER_RESERVATIONS_MAX": 3,
    "WAITING_PER_SKU_MAX": 2,
    "WAITING_BYTES_MAX": 27,
    "BOOKINGS_MAX": 1,
    "LEDGER_BACKLOG_MAX": 60,
    "LEDGER_KEPT_MIN": 1_000_000,
    "LEDGER_ENTRY_BYTES_MAX": 420,
    "ENTRY_HEAD_BYTES": -700,  # an event needs more room than that, and meets the bound with two lines and a few deltas
    "SETTLED_LINES_MAX": 2,
}

skus = st.sampled_from(["A", "B", "X"])
nodes = st.sampled_from(["N1", "N2"])
rare_nodes = st.sampled_from(["N1", "N1", "N1", "N2", "N2", "N2", "N3", "N9"])
reservations = st.sampled_from([f"R{n}" for n in range(1, 7)])
keys = st.sampled_from([f"K{n}" for n in range(1, 6)])
shipments = st.sampled_from([f"S{n}" for n in range(1, 6)])
sequences = st.integers(1, 14)
units = st.integers(1, 12)
fingerprints = st.sampled_from([11, 11, 11, 12])
parts = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), max_size=2, unique_by=lambda part: part[0])
ttls = st.sampled_from([1_000, 5_000, 60_000])
basket = st.lists(st.tuples(skus.filter(lambda sku: sku != "X"), units), min_size=1, max_size=3)
rare_basket = st.one_of(basket, basket, basket, st.lists(st.tuples(skus, units), min_size=1, max_size=3))
#: Other names of items, one of them a SKU too.
aliases = st.lists(st.sampled_from(["ALT", "CODE", "X"]), max_size=2, unique=True)
masters = st.sampled_from(["erp", "erp", "erp", "lab", "pos", "pos", "wms", "fax"])
#: `wms` stands for the source that issues from N1 and N2.
sources = st.sampled_from(["wms", "wms", "wms", "wms", "erp", "lab", "lab", "pos", "pos", "fax"])
orders = st.sampled_from(["", "", "O1", "O2"])
#: A reservation or an order that an event names, at most one of the two.
abouts = st.one_of(st.tuples(reservations, st.just("")), st.tuples(st.just(""), orders))
masks = st.sampled_from([7, 7, 7, 1, 2, 5, 6])


def unique(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[str, Any]]]:
    return st.lists(st.tuples(skus, values), min_size=1, max_size=2, unique_by=lambda line: line[0])


class Machine(RuleBasedStateMachine):
    url: ClassVar[str]
    runner: ClassVar[asyncio.Runner]

    @initialize(issuer=st.sampled_from(["wms", "wcs"]))
    def start(self, issuer: str) -> None:
        with redis.Redis.from_url(self.url) as server:
            server.flushall()
        self.pair = Pair(self.url, BOUNDS)
        self.replay = Replay()
        self.waiting: dict[type, list[Any]] = {}
        self.async_(self.pair.start())
        self.issuer = issuer
        if issuer != "wms":
            self._do(Provision(CONTEXT, [NodeConfig(node, "store", "Europe/Paris", issuer) for node in ("N1", "N2")], [], []))
        self._do(Register(CONTEXT, "e", "erp", 1, 1, [ItemLine("A", 0), ItemLine("B", 1)]))
        self._do(Adjust(CONTEXT, "e", "receipt", issuer, "N1", 1, 11, [Figures("A", 20, 0, 0), Figures("B", 9, 0, 0)]))

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.async_(self.pair.close())

    def async_(self, work: Any) -> Any:
        return self.runner.run(work)

    def _do(self, request: Write, *, lost: bool = False) -> None:
        request = self._told_by(request)
        self.async_(self.pair.do_with_lost_reply(request) if lost else self.pair.do(request))

    def _told_by(self, request: Write) -> Any:
        told_by_wms = getattr(request, "source", "") == "wms"
        return msgspec.structs.replace(request, source=self.issuer) if told_by_wms else request

    def _do_together(self, request: Adjust | Ship, waits: bool) -> None:
        """One that waits goes with the next of its verb in one call."""
        some = self.waiting.setdefault(type(request), [])
        some.append(self._told_by(request))
        if not waits:
            self.async_(self.pair.do_all(some))
            some.clear()

    # --- reservations ---------------------------------------------------------------------------------------------
    @rule(
        reservation_id=reservations,
        lines=rare_basket,
        ttl_ms=ttls,
        order=orders,
        partial=st.booleans(),
        wanted=st.sampled_from([[], [], ["N1"], ["N2", "N1"], ["N1", "N9"]]),
        channel=st.sampled_from(["web", "web", "web", "shop", "fax"]),
        lost=st.booleans(),
    )
    def reserve(
        self, reservation_id: str, lines: Any, ttl_ms: int, order: str, partial: bool, wanted: Any, channel: str, lost: bool
    ) -> None:
        request = requests.reserve(
            CONTEXT,
            reservation_id=reservation_id,
            own_id=False,
            channel=channel,
            order_reference=order,
            ttl_ms=ttl_ms,
            partial=partial,
            nodes=wanted,
            lines=lines,
        )
        self._do(request, lost=lost)

    @rule(reservation_id=reservations, key=keys, reacquire=st.booleans(), lost=st.booleans())
    def confirm(self, reservation_id: str, key: str, reacquire: bool, lost: bool) -> None:
        self._do(requests.confirm(CONTEXT, reservation_id=reservation_id, key=key, reacquire=reacquire), lost=lost)

    @rule(reservation_id=reservations, key=keys, lines=parts, lost=st.booleans())
    def release(self, reservation_id: str, key: str, lines: Any, lost: bool) -> None:
        self._do(requests.release(CONTEXT, reservation_id=reservation_id, key=key, lines=lines), lost=lost)

    @rule(reservation_id=reservations, key=keys, ttl_ms=ttls, lost=st.booleans())
    def extend(self, reservation_id: str, key: str, ttl_ms: int, lost: bool) -> None:
        self._do(requests.extend(CONTEXT, reservation_id=reservation_id, key=key, ttl_ms=ttl_ms), lost=lost)

    @rule(reservation_id=reservations, shipment_id=shipments, lines=parts, ago_ms=st.sampled_from([0, 0, 3_000]), lost=st.booleans())
    def fulfil(self, reservation_id: str, shipment_id: str, lines: Any, ago_ms: int, lost: bool) -> None:
        shipped_ms = self.pair.now_ms - ago_ms if ago_ms else 0
        request = requests.fulfil(CONTEXT, reservation_id=reservation_id, shipment_id=shipment_id, shipped_ms=shipped_ms, lines=lines)
        self._do(request, lost=lost)

    # --- feeds ----------------------------------------------------------------------------------------------------
    @rule(
        source=sources,
        node=rare_nodes,
        sequence=sequences,
        fingerprint=fingerprints,
        lines=unique(st.tuples(st.integers(-6, 12), st.integers(-1, 2))),
        kind=st.sampled_from(["adjustment", "adjustment", "pick_short"]),
        about=st.one_of(st.just(""), reservations),
        waits=st.booleans(),
    )
    def adjust(self, source: str, node: str, sequence: int, fingerprint: int, lines: Any, kind: str, about: str, waits: bool) -> None:
        figures = [Figures(sku, on_hand, damaged, 0) for sku, (on_hand, damaged) in lines]
        request = Adjust(CONTEXT, f"e{sequence}", kind, source, node, sequence, fingerprint, figures, sequence + 1, about)
        self._do_together(request, waits)

    @rule(
        source=sources,
        node=rare_nodes,
        sequence=sequences,
        fingerprint=fingerprints,
        ago_ms=st.integers(-2_000, 6_000),
        lines=unique(st.tuples(st.integers(-2, 30), st.integers(0, 2), masks, st.integers(0, 3))),
        part=st.sampled_from([(0, 0), (0, 0), (0, 0), (1, 1), (1, 2), (2, 2)]),
    )
    def count(self, source: str, node: str, sequence: int, fingerprint: int, ago_ms: int, lines: Any, part: Any) -> None:
        figures = [Figures(sku, on_hand, damaged, 0, named, own_reserved) for sku, (on_hand, damaged, named, own_reserved) in lines]
        as_of_ms = self.pair.now_ms - ago_ms
        self._do(Count(CONTEXT, f"e{sequence}", source, node, sequence, fingerprint, as_of_ms, figures, sequence + 1, "snapshot", *part))

    @rule(source=sources, node=nodes, sequence=sequences, done=st.booleans())
    def complete(self, source: str, node: str, sequence: int, done: bool) -> None:
        self._do(Complete(CONTEXT, source, node, sequence, done))

    @rule(
        source=sources,
        node=rare_nodes,
        sequence=sequences,
        fingerprint=fingerprints,
        shipment_id=shipments,
        of=abouts,
        lines=unique(units),
        kind=st.sampled_from(["shipment", "sale"]),
        waits=st.booleans(),
    )
    def ship(
        self, source: str, node: str, sequence: int, fingerprint: int, shipment_id: str, of: Any, lines: Any, kind: str, waits: bool
    ) -> None:
        wants = [Want(sku, quantity) for sku, quantity in lines]
        said = (sequence, fingerprint, shipment_id, of[0], wants, sequence + 1, of[1], kind)
        self._do_together(Ship(CONTEXT, f"e{sequence}", source, node, *said), waits)

    @rule(
        source=sources,
        node=rare_nodes,
        sequence=sequences,
        fingerprint=fingerprints,
        of=abouts,
        lines=unique(units),
        kind=st.sampled_from(["pick", "pick", "pick_reversed"]),
    )
    def pick(self, source: str, node: str, sequence: int, fingerprint: int, of: tuple[str, str], lines: Any, kind: str) -> None:
        wants = [Want(sku, quantity) for sku, quantity in lines]
        self._do(Pick(CONTEXT, f"p{sequence}", source, node, sequence, fingerprint, *of, wants, sequence + 1, kind))

    @rule(
        kind=st.sampled_from(["transfer_out", "transfer_in"]),
        source=sources,
        node=rare_nodes,
        sequence=sequences,
        fingerprint=fingerprints,
        transfer_id=st.sampled_from(["T1", "T2"]),
        other=rare_nodes,
        lines=unique(units),
    )
    def transfer(
        self, kind: str, source: str, node: str, sequence: int, fingerprint: int, transfer_id: str, other: str, lines: Any
    ) -> None:
        wants = [Want(sku, quantity) for sku, quantity in lines]
        said = (sequence, fingerprint, transfer_id, other, wants, sequence + 1)
        self._do(Transfer(CONTEXT, f"t{sequence}", kind, source, node, *said))

    @rule(
        source=sources,
        sequence=sequences,
        fingerprint=fingerprints,
        order=st.sampled_from(["O1", "O2", "O3"]),
        lines=st.one_of(st.just([]), unique(units)),
    )
    def cancel(self, source: str, sequence: int, fingerprint: int, order: str, lines: Any) -> None:
        self._do(Cancel(CONTEXT, f"c{sequence}", source, sequence, fingerprint, order, [Want(*line) for line in lines]))

    @rule(source=sources, node=rare_nodes, sequence=sequences, fingerprint=fingerprints, about=st.one_of(st.just(""), reservations))
    def note(self, source: str, node: str, sequence: int, fingerprint: int, about: str) -> None:
        self._do(Note(CONTEXT, f"k{sequence}", "pack", source, node, fingerprint, about))

    @rule(node=nodes, authority=st.sampled_from(["wms", "wms", "wcs", "erp", "pos"]), damaged=st.sampled_from(["", "lab"]))
    def hand_over(self, node: str, authority: str, damaged: str) -> None:
        """Another source is the authority from now on."""
        self._do(Provision(CONTEXT, [NodeConfig(node, "store", "Europe/Paris", authority, damaged)], [], []))

    @rule(
        source=masters,
        sequence=sequences,
        fingerprint=fingerprints,
        lines=unique(st.tuples(st.integers(0, 3), st.sampled_from(["", "", '{"é": 1}']), aliases)),
    )
    def register(self, source: str, sequence: int, fingerprint: int, lines: Any) -> None:
        items = [ItemLine(sku, safety, details, sorted(names)) for sku, (safety, details, names) in lines]
        self._do(Register(CONTEXT, f"i{sequence}", source, sequence, fingerprint, items, sequence + 1))

    @rule(source=masters, sequence=sequences, fingerprint=fingerprints, lines=unique(st.sampled_from([0, 0, 1, 2])))
    def set_item_states(self, source: str, sequence: int, fingerprint: int, lines: Any) -> None:
        states = [ItemState(sku, state) for sku, state in lines]
        self._do(SetItemStates(CONTEXT, f"s{sequence}", source, sequence, fingerprint, states, sequence + 1))

    @rule(source=masters, node=rare_nodes, sequence=sequences, fingerprint=fingerprints, kind=st.sampled_from(["store", "kiosk"]))
    def locate(self, source: str, node: str, sequence: int, fingerprint: int, kind: str) -> None:
        self._do(Locate(CONTEXT, f"l{sequence}", source, node, sequence, fingerprint, kind, "Europe/Rome", sequence + 1))

    @rule(source=masters, node=rare_nodes, sequence=sequences, fingerprint=fingerprints, state=st.sampled_from([0, 0, 1, 2]))
    def set_location_state(self, source: str, node: str, sequence: int, fingerprint: int, state: int) -> None:
        self._do(SetLocationState(CONTEXT, f"n{sequence}", source, node, sequence, fingerprint, state, sequence + 1))

    @rule(
        name=st.sampled_from(["A", "X", "X", "ALT"]),
        key=st.sampled_from(["wms/1", "wms/2", "wms/3"]),
        verb=st.sampled_from(["park", "park", "unpark", "discard"]),
        is_alias=st.booleans(),
    )
    def park(self, name: str, key: str, verb: str, is_alias: bool) -> None:
        parked, let_go = Park(CONTEXT, name, key, '{"é": 1}', is_alias), Unpark(CONTEXT, name, key, verb == "discard", is_alias)
        self._do(parked if verb == "park" else let_go)

    @rule(
        repair_id=st.sampled_from(["P1", "P2", "P3", "P4"]),
        fingerprint=fingerprints,
        node=rare_nodes,
        lines=unique(st.tuples(st.sampled_from(["on_hand", "on_hand", "damaged", "quality_hold"]), st.integers(-2, 30))),
        off=st.sampled_from([0, 0, 0, 1]),
    )
    def repair(self, repair_id: str, fingerprint: int, node: str, lines: Any, off: int) -> None:
        """Of physical figures: a counter that is wrong would go below nothing, as no verb of ours lets it."""
        said = [RepairLine(sku, node, term, getattr(self.pair.model.row(sku, node), term) + off, wanted) for sku, (term, wanted) in lines]
        self._do(Repair(CONTEXT, repair_id, "miscounted", fingerprint, said))

    # --- time and servers -----------------------------------------------------------------------------------------
    @rule(step_ms=st.sampled_from([1, 500, 1_000, 5_000, 60_000, -2_000]))
    def tick(self, step_ms: int) -> None:
        self.pair.now_ms += step_ms

    @rule()
    def expire(self) -> None:
        self._do(Expire(CONTEXT))

    @rule()
    def restart(self) -> None:
        """The pool is open for another run of the server: every write is refused until it is opened again."""
        with redis.Redis.from_url(self.url) as server:
            server.hset(f"{{{self.pair.pool}}}:pool", "run", "another")
        self.pair.run += " and the next"
        self._do(Expire(CONTEXT))
        self.async_(self.pair.open())

    @rule()
    def flush_scripts(self) -> None:
        with redis.Redis.from_url(self.url) as server:
            server.script_flush()

    @rule()
    def publish(self) -> None:
        self.async_(self.pair.published())

    # --- what always holds ----------------------------------------------------------------------------------------
    @invariant()
    def both_worlds_are_the_same(self) -> None:
        if hasattr(self, "pair"):
            self.async_(self._compare())

    async def _compare(self) -> None:
        pair = self.pair
        await pair.compare()
        for record in await pair.store.ledger_after(pair.pool, self.replay.revision, 1_000):
            entry = decode_entry(record.entry)
            modelled = pair.model.entries[entry.revision - 1]
            assert (entry.verb, entry.cause, entry.time_ms, entry.revision) == (
                modelled.verb,
                modelled.cause,
                modelled.time_ms,
                modelled.revision,
            )
            assert added_up(entry.facts) == added_up(modelled.facts)
            raised = [(e.id, e.reason, e.state, e.sku, e.node, e.cause, e.quantity) for e in entry.exceptions]
            expected = [(e.id, e.reason, e.state, e.sku, e.node, e.cause, e.quantity) for e in modelled.exceptions]
            assert sorted(raised) == sorted(expected), f"{raised}\n{expected}"  # which row of an event is put first says nothing
            self.replay.apply(entry)
        assert self.replay.revision == pair.model.revision
        names = [name for name in await pair.store.scan_keys(pair.pool) if name not in {"ledger", "pool"}]
        _, stored = await pair.store.read_keys(pair.pool, names)
        assert stored == {key: content for key, content in self.replay.keys.items() if content and key != "pool"}


def added_up(facts: list[Fact]) -> dict[tuple[str, str, int, str], int]:
    """What an entry's facts say: where it moves a term of a row more than once, their sum."""
    total: dict[tuple[str, str, int, str], int] = {}
    for fact in facts:
        name = fact.sku, fact.node, fact.day, fact.term
        total[name] = total.get(name, 0) + fact.delta
    return {name: delta for name, delta in total.items() if delta}


def run_machine(url: str, examples: int) -> None:
    """Runs the machine on one server; `tests/mutants.py` runs it on sabotaged scripts."""
    with asyncio.Runner() as runner:
        machine = type("OnServer", (Machine,), {"url": url, "runner": runner})
        profile = settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize="CI" in os.environ,
        )
        run_state_machine_as_test(machine, settings=profile)


@pytest.mark.slow
def test_model_and_scripts_agree(store_server: StoreServer) -> None:
    run_machine(store_server.url, examples=int(os.environ.get("ATP_EXAMPLES", "60")))
