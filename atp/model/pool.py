"""One pool in memory: what every writing verb does to it and answers, without a server. docs/verbs.md in Python."""

from collections.abc import Callable
from typing import Any

from atp.model.cancelling import cancel, note
from atp.model.change import Change
from atp.model.feeds import adjust, complete, count
from atp.model.holding import confirm, extend, reap, release, reserve
from atp.model.items import park, register, set_item_states, unpark
from atp.model.layout import Layout, layout
from atp.model.locations import locate, set_location_state
from atp.model.picking import pick
from atp.model.repairing import repair
from atp.model.shipping import fulfil, ship
from atp.model.state import ModelEntry, ModelLimits, PoolState
from atp.model.status import State, Status
from atp.model.transferring import transfer
from atp.model.verbs import (
    Adjust,
    Cancel,
    Complete,
    Confirm,
    Count,
    Expire,
    Extend,
    Fulfil,
    Locate,
    Note,
    Park,
    Pick,
    Provision,
    Register,
    Release,
    Repair,
    Reserve,
    Result,
    SetItemStates,
    SetLocationState,
    Ship,
    Transfer,
    Unpark,
)

__all__ = ["ModelEntry", "ModelLimits", "Pool", "Write"]

_DEFAULT_LIMITS = ModelLimits()

Write = (
    Reserve
    | Confirm
    | Release
    | Extend
    | Fulfil
    | Expire
    | Adjust
    | Count
    | Complete
    | Ship
    | Pick
    | Transfer
    | Cancel
    | Note
    | Register
    | SetItemStates
    | Locate
    | SetLocationState
    | Park
    | Unpark
    | Provision
    | Repair
)


class Pool(PoolState):
    """A pool that has never been opened does not exist. Times are milliseconds since the Unix epoch."""

    def __init__(self, limits: ModelLimits = _DEFAULT_LIMITS) -> None:
        super().__init__(limits)

    def open(self, run: str, expected_epoch: int, published: int, now_ms: int) -> Result:
        """Opens the pool for one run of its server; makes it if need be. DUPLICATE if another has raised the epoch."""
        now_ms = max(now_ms, self.time_ms)
        if expected_epoch != self.epoch:
            return self.answer(Status.DUPLICATE, now_ms)
        self.run = run
        self.published = published
        self.epoch += 1
        return Change(self, "open", "", now_ms).commit()

    def apply(self, request: Write, now_ms: int, run: str) -> Result:
        """Runs one verb, sent to the server whose run is `run`. REAP_MORE: nothing but expiries was done, call again."""
        if not self.epoch:
            return Result(status=Status.UNKNOWN_POOL)
        if run != self.run:
            return Result(status=Status.POOL_NOT_OPEN, revision=self.revision)
        now_ms = max(now_ms, self.time_ms)
        if not reap(self, now_ms):
            return self.answer(Status.REAP_MORE, now_ms)
        return _VERBS[type(request)](self, request, now_ms)

    def available(self, sku: str, node: str, now_ms: int) -> int:
        """Units available to promise, due holds left out of the sum: a read never reaps. 0 for an unknown SKU."""
        if sku not in self.items:
            return 0
        now_ms = max(now_ms, self.time_ms)
        due = [
            (line.open, line.picked)
            for record in self.reservations.values()
            if record.state is State.HELD and record.expire_ms <= now_ms
            for line in record.lines.values()
            if (line.sku, line.node) == (sku, node)
        ]
        return self.promised(sku, node, sum(units for units, _ in due), sum(picked for _, picked in due))

    def layout(self) -> Layout:
        """The keys as docs/verbs.md lays them out, values decoded; without `ledger` and what is operational."""
        return layout(self)


def _expire(state: PoolState, _request: Expire, now_ms: int) -> Result:
    """Every verb reaps first; this one does nothing more."""
    return state.answer(Status.OK, now_ms)


def _provision(state: PoolState, request: Provision, now_ms: int) -> Result:
    """Writes what differs; nodes, channels and sources that are not named stay."""
    nodes = {node.id: node for node in request.nodes}
    channels = {channel.id: list(channel.nodes) for channel in request.channels}
    sources = {source.id: source for source in request.sources}
    same = (state.nodes | nodes, state.channels | channels, state.sources | sources) == (state.nodes, state.channels, state.sources)
    if same:
        return state.answer(Status.OK, now_ms)
    change = Change(state, "provision", "", now_ms)
    state.nodes |= nodes
    state.channels |= channels
    state.sources |= sources
    return change.commit()


_VERBS: dict[type[Write], Callable[[PoolState, Any, int], Result]] = {
    Reserve: reserve,
    Confirm: confirm,
    Release: release,
    Extend: extend,
    Fulfil: fulfil,
    Expire: _expire,
    Adjust: adjust,
    Count: count,
    Complete: complete,
    Ship: ship,
    Pick: pick,
    Transfer: transfer,
    Cancel: cancel,
    Note: note,
    Register: register,
    SetItemStates: set_item_states,
    Locate: locate,
    SetLocationState: set_location_state,
    Park: park,
    Unpark: unpark,
    Provision: _provision,
    Repair: repair,
}
