"""A small language for tables of verbs and their answers.

    register A B safety=2             → OK
    receive N1 A 10 seq=3             → OK           seq, id and the like default to the next free ones
    sell N2 A 1                       → OK           over the counter, of no order
    reserve R1 A 5 B 1 ttl=1s         → OK
    tick 1s
    confirm R1                        → EXPIRED
    row A N1 on_hand=10 reserved=0                   terms not named are not looked at
    count N1 A 5 only=on_hand part=1/3 → OK          a snapshot of these figures alone; a part of a full one
    complete N1 seq=7                 → OK
    hand N1 to=erp damaged=lab        → OK           provisions the node with these authorities
    source till order=time falls=pick → OK           provisions a source
    said A N1 erp on_hand=3                          what a source says of figures that it is not the authority of
    raised OVERCOMMITTED 3                           the last entry raised this and no more, for so many units
    raised nothing
    at-most A N1 5                                   that many can be promised, or fewer
    pick N4 A 2 of=R1                 → OK           at N4 on hand falls at pick; order=O1 names an order
    unpick N4 A 2 of=R1               → OK           the pick is taken back: its units are in their place again
    ship N4 S1 A 2 order=O1 source=wcs → OK
    short N1 A 1 of=R1                → OK           units that were to be picked are not there
    cancel O1 A 2                     → OK           without units: the whole order
    pack N1 of=O1                     → OK
    leaves N1 N2 T1 A 2               → OK           a transfer; at the other end: comes N2 N1 T1 A 2
    register A alias=X,Y details={} → OK             each of the items named has these other names
    claims X A                                       the items that have a name
    state A blocked                   → OK           an item's state; seq is the place, also of a source ordered by time
    locate N9 store Europe/Rome       → OK
    node N9 closed                    → OK           a location's state
    park X doc                        → OK           an event waits for SKU X, or with alias=yes for an item of that name
    repair P1 A N1 on_hand 10 12      → OK           a term of a row that is 10 is made 12; why= is the reason
    published                                        JetStream has the ledger so far
    open epoch=1                      → DUPLICATE    somebody opens the pool, who saw it at that epoch

Events are of `source=` (wms if there is none), and carry `seq=`, `at=` (its place by time) and `id=`.
What stands behind → is the status, then details, shortfalls `SKU:requested/available`, moves `number×quantity`, `replayed` or `complete`.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from atp import requests
from atp.ledger import decode_entry
from atp.model.stock import ACTIVE, available_to_promise
from atp.model.verbs import (
    FIGURE_BITS,
    ITEM_STATES,
    LOCATION_STATES,
    Adjust,
    Cancel,
    Complete,
    Count,
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
    Result,
    SetItemStates,
    SetLocationState,
    Ship,
    SourceConfig,
    Transfer,
    Unpark,
    Want,
)
from atp.store.store import Write
from tests.pair import CONTEXT, Pair

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


def duration_ms(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


@dataclass
class Words:
    """One step: positional words and name=value options."""

    verb: str
    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Words":
        verb, *rest = text.split()
        return cls(verb, [word for word in rest if "=" not in word], dict(word.split("=", 1) for word in rest if "=" in word))

    def pairs(self, start: int) -> list[tuple[str, int]]:
        rest = self.words[start:]
        return [(rest[i], int(rest[i + 1])) for i in range(0, len(rest), 2)]


async def play(url: str, steps: str, bounds: Mapping[str, int]) -> None:
    """Plays a scenario on a pool of its own."""
    pair = Pair(url, bounds)
    await pair.start()
    try:
        await Player(pair).play(steps)
    finally:
        await pair.close()


class Player:
    """Plays a scenario on a pair; every step is compared between model and scripts."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._sequence = itertools.count(1)
        self._key = itertools.count(1)
        self._builders: dict[str, Callable[[Words], Write]] = {
            "register": self._register,
            "state": self._state,
            "locate": self._locate,
            "node": self._node,
            "park": self._park,
            "unpark": self._unpark,
            "discard": self._unpark,
            "receive": self._adjust,
            "adjust": self._adjust,
            "return": self._adjust,
            "short": self._adjust,
            "sell": self._adjust,
            "count": self._count,
            "complete": self._complete,
            "hand": self._hand,
            "source": self._source,
            "ship": self._ship,
            "pick": self._pick,
            "unpick": self._pick,
            "pack": self._pack,
            "cancel": self._cancel,
            "leaves": self._transfer,
            "comes": self._transfer,
            "reserve": self._reserve,
            "confirm": self._confirm,
            "release": self._release,
            "extend": self._extend,
            "fulfil": self._fulfil,
            "repair": self._repair,
        }

    async def play(self, text: str) -> None:
        for number, line in enumerate(text.strip().splitlines(), 1):
            step, _, expected = (part.strip() for part in line.partition("→"))
            if step:
                await self._step(Words.parse(step), expected, f"line {number}: {line.strip()}")

    async def _step(self, words: Words, expected: str, where: str) -> None:
        if words.verb == "tick":
            self.pair.now_ms += duration_ms(words.words[0])
        elif words.verb == "published":
            await self.pair.published()
        elif words.verb == "row":
            sku, node = words.words
            row = self.pair.model.row(sku, node)
            found = {name: str(getattr(row, name)) for name in words.options}
            assert found == words.options, where
        elif words.verb == "said":
            sku, node, source = words.words
            compared = self.pair.model.layout().get(f"cmp:{sku}", {}).get(f"{node} {source}", [0] * 5)
            found = {name: str(compared[list(FIGURE_BITS).index(name)]) for name in words.options}
            assert found == words.options, where
        elif words.verb in {"available", "at-most"}:
            sku, node, units = words.words
            available = self.pair.model.available(sku, node, self.pair.now_ms)
            read = await self.pair.store.explain(self.pair.pool, sku, node)
            assert available == available_to_promise(read.row, read.item, shut=read.node_state != ACTIVE), where
            assert available == int(units) or (words.verb == "at-most" and available < int(units)), f"{where}: {available}"
        elif words.verb == "claims":
            assert sorted(self.pair.model.layout().get(f"ali:{words.words[0]}", {})) == words.words[1:], where
        elif words.verb == "raised":
            modelled = self.pair.model.entries[-1].exceptions
            (record,) = await self.pair.store.ledger_after(self.pair.pool, self.pair.model.revision - 1, 1)
            stored = decode_entry(record.entry).exceptions
            assert sorted(stored, key=attrgetter("id")) == sorted(modelled, key=attrgetter("id")), where
            raised = [f"{e.reason} {e.quantity}" + (" resolved" if e.state == "resolved" else "") for e in modelled]
            assert " ".join(raised) == ("" if words.words == ["nothing"] else " ".join(words.words)), where
        else:
            opens = words.verb == "open"
            result = await (self.pair.open(int(words.options["epoch"])) if opens else self.pair.do(self._builders[words.verb](words)))
            assert describe(result) == re.split(r"\s+", expected), where
        await self.pair.compare()

    def _next(self, options: dict[str, str]) -> tuple[str, int, int]:
        """Event id, sequence and fingerprint; the fingerprint is of the content, so `as=` tells a lie about it."""
        sequence = int(options.get("seq") or next(self._sequence))
        return options.get("id", f"E{sequence}"), sequence, requests.fingerprint(options.get("as", ""))

    def _register(self, words: Words) -> Register:
        event_id, sequence, fingerprint = self._next(words.options)
        aliases = sorted(name for name in words.options.get("alias", "").split(",") if name)
        safety, details = int(words.options.get("safety", 0)), words.options.get("details", "")
        lines = [ItemLine(sku, safety, details, aliases) for sku in words.words]
        return Register(CONTEXT, event_id, words.options.get("source", "erp"), sequence, fingerprint, lines, sequence)

    def _state(self, words: Words) -> SetItemStates:
        event_id, sequence, fingerprint = self._next(words.options)
        *skus, state = words.words
        lines = [ItemState(sku, ITEM_STATES.index(state)) for sku in skus]
        return SetItemStates(CONTEXT, event_id, words.options.get("source", "erp"), sequence, fingerprint, lines, sequence)

    def _locate(self, words: Words) -> Locate:
        event_id, sequence, fingerprint = self._next(words.options)
        node, kind, time_zone = words.words
        return Locate(CONTEXT, event_id, words.options.get("source", "erp"), node, sequence, fingerprint, kind, time_zone, sequence)

    def _node(self, words: Words) -> SetLocationState:
        event_id, sequence, fingerprint = self._next(words.options)
        node, state = words.words
        source, number = words.options.get("source", "erp"), LOCATION_STATES.index(state)
        return SetLocationState(CONTEXT, event_id, source, node, sequence, fingerprint, number, sequence)

    def _park(self, words: Words) -> Park:
        name, key = words.words
        return Park(CONTEXT, name, key, "{}", "alias" in words.options)

    def _unpark(self, words: Words) -> Unpark:
        name, key = words.words
        return Unpark(CONTEXT, name, key, words.verb == "discard", "alias" in words.options)

    def _adjust(self, words: Words) -> Adjust:
        event_id, sequence, fingerprint = self._next(words.options)
        term = words.options.get("to", "")
        sign = -1 if words.verb in {"short", "sell"} else 1
        lines = [
            Figures(
                sku, 0 if term and words.verb == "adjust" else sign * n, n if term == "damaged" else 0, n if term == "quality_hold" else 0
            )
            for sku, n in words.pairs(1)
        ]
        kind = {"receive": "receipt", "adjust": "adjustment", "return": "return", "short": "pick_short", "sell": "sale"}[words.verb]
        source, moment = words.options.get("source", "wms"), int(words.options.get("at", 0))
        return Adjust(CONTEXT, event_id, kind, source, words.words[0], sequence, fingerprint, lines, moment, words.options.get("of", ""))

    def _count(self, words: Words) -> Count:
        event_id, sequence, fingerprint = self._next(words.options)
        as_of = self.pair.now_ms + int(words.options.get("as_of", 0))
        options = words.options
        named = sum(FIGURE_BITS[name] for name in options.get("only", ",".join(FIGURE_BITS)).split(","))
        others = int(options.get("damaged", 0)), int(options.get("quality_hold", 0))
        lines = [Figures(sku, units, *others, named, int(options.get("reserved", 0))) for sku, units in words.pairs(1)]
        part, parts = (int(number) for number in options.get("part", "0/0").split("/"))
        source, moment = options.get("source", "wms"), int(options.get("at", 0))
        kind = "snapshot"
        return Count(CONTEXT, event_id, source, words.words[0], sequence, fingerprint, as_of, lines, moment, kind, part, parts)

    def _complete(self, words: Words) -> Complete:
        source, done = words.options.get("source", "wms"), "begun" not in words.options
        return Complete(CONTEXT, source, words.words[0], int(words.options["seq"]), done)

    def _hand(self, words: Words) -> Provision:
        options = words.options
        node = NodeConfig(words.words[0], "store", "UTC", options["to"], options.get("damaged", ""), options.get("quality_hold", ""))
        return Provision(CONTEXT, [node], [], [])

    def _source(self, words: Words) -> Provision:
        order, falls = words.options.get("order", "sequence"), words.options.get("falls", "issue")
        return Provision(CONTEXT, [], [], [SourceConfig(words.words[0], False, order=order, on_hand_falls=falls)])

    def _ship(self, words: Words) -> Ship:
        event_id, sequence, fingerprint = self._next(words.options)
        lines = [Want(sku, units) for sku, units in words.pairs(2)]
        node, shipment = words.words[:2]
        options = words.options
        source, order, kind = options.get("source", "wms"), options.get("order", ""), options.get("kind", "shipment")
        return Ship(CONTEXT, event_id, source, node, sequence, fingerprint, shipment, options.get("of", ""), lines, 0, order, kind)

    def _pick(self, words: Words) -> Pick:
        event_id, sequence, fingerprint = self._next(words.options)
        options = words.options
        lines = [Want(sku, units) for sku, units in words.pairs(1)]
        of, order = options.get("of", ""), options.get("order", "")
        source, kind = options.get("source", "wcs"), {"pick": "pick", "unpick": "pick_reversed"}[words.verb]
        return Pick(CONTEXT, event_id, source, words.words[0], sequence, fingerprint, of, order, lines, 0, kind)

    def _transfer(self, words: Words) -> Transfer:
        event_id, sequence, fingerprint = self._next(words.options)
        node, other, transfer = words.words[:3]
        lines = [Want(sku, units) for sku, units in words.pairs(3)]
        kind = {"leaves": "transfer_out", "comes": "transfer_in"}[words.verb]
        return Transfer(CONTEXT, event_id, kind, words.options.get("source", "wms"), node, sequence, fingerprint, transfer, other, lines)

    def _cancel(self, words: Words) -> Cancel:
        event_id, sequence, fingerprint = self._next(words.options)
        lines = [Want(sku, units) for sku, units in words.pairs(1)]
        return Cancel(CONTEXT, event_id, words.options.get("source", "erp"), sequence, fingerprint, words.words[0], lines)

    def _pack(self, words: Words) -> Note:
        event_id, _, fingerprint = self._next(words.options)
        source = words.options.get("source", "wms")
        return Note(CONTEXT, event_id, "pack", source, words.words[0], fingerprint, words.options.get("of", ""))

    def _reserve(self, words: Words) -> Write:
        options = words.options
        return requests.reserve(
            CONTEXT,
            reservation_id=words.words[0],
            own_id=False,
            channel=options.get("channel", "web"),
            order_reference=options.get("order", ""),
            ttl_ms=duration_ms(options.get("ttl", "15m")),
            partial="partial" in options,
            nodes=[node for node in options.get("nodes", "").split(",") if node],
            lines=words.pairs(1),
        )

    def _new_key(self, words: Words) -> str:
        return words.options.get("key") or f"K{next(self._key)}"

    def _parts(self, words: Words, start: int) -> list[tuple[int, int]]:
        return [(int(number), units) for number, units in words.pairs(start)]

    def _confirm(self, words: Words) -> Write:
        reacquire = "reacquire" in words.options
        return requests.confirm(CONTEXT, reservation_id=words.words[0], key=self._new_key(words), reacquire=reacquire)

    def _release(self, words: Words) -> Write:
        return requests.release(CONTEXT, reservation_id=words.words[0], key=self._new_key(words), lines=self._parts(words, 1))

    def _extend(self, words: Words) -> Write:
        ttl_ms = duration_ms(words.options["ttl"])
        return requests.extend(CONTEXT, reservation_id=words.words[0], key=self._new_key(words), ttl_ms=ttl_ms)

    def _fulfil(self, words: Words) -> Write:
        reservation_id, shipment_id = words.words[:2]
        shipped_ms = self.pair.now_ms + int(words.options.get("shipped", 0))
        lines = self._parts(words, 2)
        return requests.fulfil(CONTEXT, reservation_id=reservation_id, shipment_id=shipment_id, shipped_ms=shipped_ms, lines=lines)

    def _repair(self, words: Words) -> Repair:
        repair_id, *rest = words.words
        said = [rest[at : at + 5] for at in range(0, len(rest), 5)]
        lines = [RepairLine(sku, node, term, int(expected), int(wanted)) for sku, node, term, expected, wanted in said]
        return requests.repair(CONTEXT, repair_id=repair_id, reason=words.options.get("why", "miscounted"), lines=lines)


def describe(result: Result) -> list[str]:
    """An answer in the words of the language."""
    words = [result.status, *result.detail]
    words += [f"{short.sku}:{short.requested}/{short.available}" for short in result.short]
    words += [f"{move.number}×{move.quantity}" for move in result.moves]
    return words + ["replayed"] * result.replayed + result.waiting + ["complete"] * result.complete
