"""The tables: title → steps.

Each starts from two nodes: web sells from N1 then N2, shop from N2; wms is the authority, erp registers items.
"""

from typing import Any

from tests.lua.order_scenarios import ORDER_SCENARIOS, ORDERS_AT_THE_BOUNDS, ORDERS_IN_SMALL_ENTRIES
from tests.lua.repair_scenarios import REPAIRS, REPAIRS_OF_COUNTERS

STOCK = """
    register A B C seq=1 → OK
    receive N1 A 10 B 4 → OK
    receive N2 A 3 → OK
"""

SCENARIOS = ORDER_SCENARIOS | {
    "a hold takes stock, and what is short is named": """
        reserve R1 A 8 → OK 1×8
        row A N1 on_hand=10 reserved=8
        reserve R2 A 6 B 5 → INSUFFICIENT_STOCK A:6/5 B:5/4
        row A N1 reserved=8
    """,
    "a line is split over nodes in the order asked": """
        reserve R1 A 12 → OK 1×10 2×2
        reserve R2 A 1 nodes=N2,N1 → OK 1×1
        row A N2 reserved=3
    """,
    "one SKU twice in a basket is added up first": """
        reserve R1 B 3 B 2 → INSUFFICIENT_STOCK B:5/4
        reserve R1 B 3 B 1 → OK 1×4
    """,
    "partial takes what there is, and refuses only if there is nothing": """
        reserve R1 A 1 B 6 partial=yes → OK B:6/4 1×1 2×4
        reserve R1 A 1 B 6 partial=yes → OK B:6/4 1×1 2×4 replayed
        reserve R2 B 1 partial=yes → INSUFFICIENT_STOCK B:1/0
    """,
    "safety stock is kept back from holds, not from confirmed ones": """
        register A seq=2 safety=8 → OK
        available A N1 2
        reserve R1 A 3 nodes=N1 → INSUFFICIENT_STOCK A:3/2
        reserve R2 A 2 nodes=N1 → OK 1×2
        confirm R2 → OK 1×2
    """,
    "a known key answers as it did first, another request under it is told apart": """
        reserve R1 A 2 ttl=1m order=O1 → OK 1×2
        reserve R1 A 2 ttl=1m order=O1 → OK 1×2 replayed
        reserve R1 A 3 ttl=2m order=O1 → KEY_REUSED ttl_ms lines
        confirm R1 key=k → OK 1×2
        confirm R1 key=k → OK 1×2 replayed
        release R1 key=k → KEY_REUSED verb
        release R1 1 1 key=k2 → OK 1×1
        release R1 1 2 key=k2 → KEY_REUSED lines
        release R1 1 1 key=k2 → OK 1×1 replayed
        reserve R1 A 2 ttl=1m order=O1 → OK 1×2 replayed
    """,
    "a refusal is evaluated anew": """
        reserve R1 B 5 → INSUFFICIENT_STOCK B:5/4
        receive N1 B 1 → OK
        reserve R1 B 5 → OK 1×5
    """,
    "expiry is exact and gives everything back": """
        reserve R1 A 5 B 1 ttl=1s → OK 1×5 2×1
        reserve R2 A 13 → INSUFFICIENT_STOCK A:13/8
        tick 1s
        available A N1 10
        reserve R3 A 13 → OK 1×10 2×3
        confirm R1 → EXPIRED
        release R1 → EXPIRED
        extend R1 ttl=1m → EXPIRED
        fulfil R1 S1 → EXPIRED
    """,
    "an expired hold can be confirmed again while stock lasts": """
        reserve R1 A 5 ttl=1s nodes=N1 order=O1 → OK 1×5
        tick 2s
        reserve R2 A 6 ttl=1m nodes=N1 → OK 1×6
        confirm R1 reacquire=yes → INSUFFICIENT_STOCK A:5/4
        release R2 → OK 1×6
        confirm R1 reacquire=yes → OK 1×5
        row A N1 reserved=0 allocated=5
        confirm R1 → CONFIRMED
    """,
    "extend moves expiry away, never nearer": """
        reserve R1 A 1 ttl=1m → OK 1×1
        extend R1 ttl=2m key=k → OK
        extend R1 ttl=1s → OK
        tick 1m
        available A N1 9
        extend R1 ttl=2m key=k → OK replayed
        tick 1m
        extend R1 ttl=1m → EXPIRED
    """,
    "release of named lines, then of the rest": """
        reserve R1 A 5 B 2 → OK 1×5 2×2
        release R1 3 1 → UNKNOWN_LINE 3
        release R1 1 6 → EXCEEDS_HELD 1
        release R1 1 2 2 0 → OK 1×2 2×2
        row A N1 reserved=3
        confirm R1 → OK 1×3
        release R1 2 1 → EXCEEDS_HELD 2
        release R1 → OK 1×3
        row A N1 allocated=0
        release R1 → RELEASED
        confirm R1 → RELEASED
        release RX → UNKNOWN_RESERVATION RX
    """,
    "fulfil settles once and waits for the authority's booking": """
        reserve R1 A 5 B 2 → OK 1×5 2×2
        fulfil R1 S1 → HELD
        confirm R1 → OK 1×5 2×2
        fulfil R1 S1 1 6 → EXCEEDS_HELD 1
        fulfil R1 S1 1 3 → OK 1×3
        fulfil R1 S1 1 3 → OK 1×3 replayed
        fulfil R1 S1 1 2 → KEY_REUSED lines
        row A N1 on_hand=10 allocated=2 shipped_unbooked=3
        ship N1 S1 A 3 of=R1 → OK
        row A N1 on_hand=7 allocated=2 shipped_unbooked=0
        raised nothing
        fulfil R1 S2 → OK 1×2 2×2
        confirm R1 → FULFILLED
        row A N1 allocated=0 shipped_unbooked=2
    """,
    "the feed before the order's own account ends in the same stock": """
        reserve R1 A 5 → OK 1×5
        confirm R1 → OK 1×5
        ship N1 S1 A 5 of=R1 → OK
        row A N1 on_hand=5 allocated=0 shipped_unbooked=0
        fulfil R1 S1 1 5 → OK 1×5 replayed
        fulfil R1 S1 1 4 → KEY_REUSED lines
        row A N1 on_hand=5 allocated=0 shipped_unbooked=0
    """,
    "a shipment is one node's": """
        reserve R1 A 12 → OK 1×10 2×2
        confirm R1 → OK 1×10 2×2
        fulfil R1 S1 → SHIPMENT_SPANS_NODES N1 N2
        fulfil R1 S1 2 0 → OK 2×2
        reserve R2 A 1 nodes=N2 → OK 1×1
        fulfil R2 S1 → KEY_REUSED reservation_id
    """,
    "a snapshot books what was shipped before it, in either order": """
        reserve R1 A 6 → OK 1×6
        confirm R1 → OK 1×6
        tick 5s
        fulfil R1 S1 1 2 shipped=-2000 → OK 1×2
        fulfil R1 S2 1 2 → OK 1×2
        count N1 A 8 as_of=-1000 → OK
        row A N1 on_hand=8 allocated=2 shipped_unbooked=2
        fulfil R1 S3 1 2 shipped=-1500 → OK 1×2
        row A N1 on_hand=8 allocated=0 shipped_unbooked=2
        ship N1 S2 A 2 of=R1 → OK
        row A N1 on_hand=6 shipped_unbooked=0
        ship N1 S1 A 2 of=R1 seq=2 → OK
        row A N1 on_hand=6 shipped_unbooked=0
    """,
    "no wrong clock makes a snapshot seem to contain what was shipped after it": """
        count N1 A 10 as_of=60000 → OK
        tick 1s
        reserve R1 A 6 → OK 1×6
        confirm R1 → OK 1×6
        fulfil R1 S1 1 2 shipped=-600000 → OK 1×2
        fulfil R1 S2 1 2 shipped=600000 → OK 1×2
        fulfil R1 S3 → OK 1×2
        row A N1 on_hand=10 allocated=0 shipped_unbooked=6
        count N1 A 4 → OK
        row A N1 on_hand=4 shipped_unbooked=0
    """,
    "what was shipped is believed, and what found no allocation is told": """
        ship N1 S1 A 2 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 2
        reserve R1 A 3 → OK 1×3
        ship N1 S2 A 2 of=R1 → OK
        raised SHIPMENT_UNCONFIRMED 2
        row A N1 on_hand=6 reserved=1
        confirm R1 → OK 1×1
        ship N1 S3 A 2 of=R1 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
        row A N1 on_hand=4 allocated=0
        ship N1 S4 A 1 of=R1 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
        ship N1 S5 A 1 of=RX → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
    """,
    "a shipment known with other content is a conflict, the same again a duplicate": """
        ship N1 S1 A 2 seq=20 → OK
        ship N1 S1 A 2 seq=20 → DUPLICATE
        ship N1 S1 A 2 seq=21 → DUPLICATE
        ship N1 S1 A 3 seq=22 → SHIPMENT_CONFLICT lines
        ship N2 S1 A 2 seq=23 → SHIPMENT_CONFLICT node
        ship N1 S2 A 3 seq=20 as=lie → SEQUENCE_CONFLICT A
        row A N1 on_hand=8
    """,
    "the authority's own figures win over the order's account": """
        reserve R1 A 5 B 1 → OK 1×5 2×1
        confirm R1 → OK 1×5 2×1
        fulfil R1 S1 → OK 1×5 2×1
        ship N1 S1 A 4 of=R1 → OK
        raised SHIPMENT_DIFFERS 2
        row A N1 on_hand=6 shipped_unbooked=0
        row B N1 on_hand=4 shipped_unbooked=0
    """,
    "reality shrinks below commitments: nothing more is promised and it is told, until it recovers": """
        reserve R1 A 8 nodes=N1 → OK 1×8
        adjust N1 A -5 → OK
        raised OVERCOMMITTED 3
        available A N1 0
        confirm R1 → OK 1×8
        raised nothing
        receive N1 A 2 → OK
        raised nothing
        receive N1 A 1 → OK
        raised OVERCOMMITTED 0 resolved
    """,
    "units that a picker did not find are off the books, and their order is told": """
        reserve R1 A 10 nodes=N1 → OK 1×10
        confirm R1 → OK 1×10
        short N1 A 2 of=R1 → OK
        raised PICK_SHORT 2 OVERCOMMITTED 2
        short N1 B 1 A 3 source=erp seq=1 → OK
        raised nothing
        row A N1 on_hand=8 allocated=10
    """,
    "damaged and quality hold are on hand but not sold; a return comes back as it is": """
        adjust N1 A 3 to=damaged → OK
        return N1 A 2 to=quality_hold → OK
        row A N1 on_hand=12 damaged=3 quality_hold=2
        available A N1 7
        return N1 A 1 → OK
        available A N1 8
    """,
    "order does not matter: deltas, snapshots, duplicates": """
        count N1 C 100 seq=50 → OK
        receive N1 C 5 seq=52 → OK
        receive N1 C 7 seq=49 → DUPLICATE
        row C N1 on_hand=105
        receive N1 C 1 seq=51 → OK
        count N1 C 200 seq=51 → SEQUENCE_CONFLICT C
        count N1 C 10 seq=40 → DUPLICATE
        receive N1 C 5 seq=52 → DUPLICATE
        receive N1 C 6 seq=52 as=lie → SEQUENCE_CONFLICT C
        count N1 C 103 seq=53 → OK
        row C N1 on_hand=103
        count N1 C 103 seq=53 → DUPLICATE
        count N1 C 104 seq=53 as=lie → SEQUENCE_CONFLICT C
        receive N1 C 4 seq=50 → DUPLICATE
    """,
    "unknown names are named, and one authority speaks for a node": """
        reserve R1 A 1 channel=fax → UNKNOWN_CHANNEL fax
        reserve R1 A 1 nodes=N1,N9,N8 → UNKNOWN_NODE N9 N8
        reserve R1 A 1 channel=shop nodes=N1 → NODE_NOT_IN_CHANNEL N1
        reserve R1 A 1 X 1 Y 1 → UNKNOWN_SKU X Y
        receive N1 X 1 → UNKNOWN_SKU X
        receive N9 A 1 → UNKNOWN_NODE N9
        receive N1 A 1 source=fax → UNKNOWN_SOURCE fax
        register A source=wms → NOT_AUTHORITY wms
        register A source=fax → UNKNOWN_SOURCE fax
        row A N1 on_hand=10
    """,
    "a snapshot of one figure leaves the others, whatever comes before or after it": """
        adjust N1 A 2 to=damaged seq=10 → OK
        receive N1 A 5 seq=12 → OK
        count N1 A 20 only=on_hand seq=11 → OK
        row A N1 on_hand=25 damaged=2
        adjust N1 A 1 to=damaged seq=9 → OK
        return N1 A 4 to=damaged seq=8 → OK
        row A N1 on_hand=25 damaged=7
        receive N1 A 3 seq=7 → DUPLICATE
        count N1 A 0 only=damaged damaged=1 seq=13 → OK
        row A N1 on_hand=25 damaged=1
        adjust N1 A 6 to=damaged seq=12 as=lie → SEQUENCE_CONFLICT A
        adjust N1 A 6 to=damaged seq=10 → DUPLICATE
        count N1 A 30 only=on_hand,damaged damaged=4 seq=12 as=lie → SEQUENCE_CONFLICT A
        count N1 A 30 only=on_hand,damaged damaged=4 seq=11 → DUPLICATE
        count N1 A 99 only=on_hand,damaged damaged=9 seq=6 → DUPLICATE
        count N1 A 40 seq=14 → OK
        row A N1 on_hand=40 damaged=0
    """,
    "each figure has its authority": """
        hand N1 to=wms damaged=lab → OK
        return N1 A 2 to=damaged → OK
        row A N1 on_hand=12 damaged=0
        said A N1 wms on_hand=0 damaged=2
        adjust N1 A 3 to=damaged source=lab at=500 → OK
        row A N1 on_hand=12 damaged=3
        receive N1 A 7 source=lab at=501 → OK
        row A N1 on_hand=12
        said A N1 lab on_hand=7 damaged=0
        count N1 A 50 damaged=1 quality_hold=9 source=lab at=502 → OK
        row A N1 on_hand=12 damaged=1 quality_hold=0
        said A N1 lab on_hand=50 damaged=0 quality_hold=9
        count N1 A 9 damaged=6 → OK
        row A N1 on_hand=9 damaged=1
        said A N1 wms damaged=6
    """,
    "what others say of a node is kept beside it and changes nothing": """
        reserve R1 A 3 → OK 1×3
        confirm R1 → OK 1×3
        fulfil R1 S1 → OK 1×3
        receive N1 A 5 source=erp seq=1 → OK
        raised nothing
        ship N1 S1 A 3 of=R1 source=erp seq=2 → OK
        raised nothing
        row A N1 on_hand=10 shipped_unbooked=3
        said A N1 erp on_hand=2
        count N1 A 100 source=erp seq=3 → OK
        row A N1 on_hand=10 shipped_unbooked=3
        said A N1 erp on_hand=100
        count N1 A 100 source=erp seq=3 → DUPLICATE
        ship N1 S1 A 3 of=R1 source=erp seq=2 → DUPLICATE
        receive N1 A 2147483647 source=erp seq=4 → QUANTITY_OUT_OF_RANGE A
        receive N1 X 1 source=erp seq=4 → UNKNOWN_SKU X
        ship N1 S1 A 3 of=R1 → OK
        row A N1 on_hand=7 shipped_unbooked=0
    """,
    "a place without an authority has no stock until it is given one": """
        receive N3 A 5 → OK
        row A N3 on_hand=0
        said A N3 wms on_hand=5
        hand N3 to=wms → OK
        receive N3 A 2 → OK
        row A N3 on_hand=2
        count N3 A 7 → OK
        row A N3 on_hand=7
    """,
    "an authority that is handed over keeps the stock and begins its own count of events": """
        count N1 A 10 seq=1000 → OK
        hand N1 to=erp → OK
        receive N1 A 5 source=erp seq=1 → OK
        receive N1 A 5 source=erp seq=1 → DUPLICATE
        row A N1 on_hand=15
        receive N1 A 3 seq=1001 → OK
        row A N1 on_hand=15
        count N1 A 12 source=erp seq=2 → OK
        row A N1 on_hand=12
        said A N1 wms on_hand=3
        hand N1 to=wms → OK
        receive N1 A 1 seq=1002 → OK
        row A N1 on_hand=13
    """,
    "a new issuer's figures book what its snapshots contain, not what those of the old one did": """
        count N1 A 10 → OK
        reserve R1 A 4 → OK 1×4
        confirm R1 → OK 1×4
        hand N1 to=erp → OK
        fulfil R1 S1 1 1 → OK 1×1
        row A N1 shipped_unbooked=1
        count N1 A 9 → OK
        row A N1 on_hand=10 shipped_unbooked=1
        count N1 A 9 only=damaged source=erp seq=1 → OK
        row A N1 on_hand=10 shipped_unbooked=1
        count N1 A 9 only=on_hand source=erp seq=2 → OK
        row A N1 on_hand=9 shipped_unbooked=0
        fulfil R1 S2 1 1 → OK 1×1
        row A N1 shipped_unbooked=0
    """,
    "a net snapshot has taken off what its source has reserved": """
        count N1 A 6 reserved=4 → OK
        row A N1 on_hand=6
        hand N1 to=pos → OK
        count N1 A 6 reserved=4 source=pos id=D1 → OK
        row A N1 on_hand=10
        count N1 A 6 reserved=1 only=damaged source=pos id=D2 → OK
        row A N1 on_hand=10 damaged=0
    """,
    "a source that has times is put in their order": """
        hand N1 to=lab → OK
        receive N1 C 2 source=lab at=30 → OK
        count N1 C 50 source=lab at=20 → OK
        receive N1 C 1 source=lab at=10 → DUPLICATE
        receive N1 C 4 source=lab at=25 seq=1 → OK
        receive N1 C 4 source=lab at=25 seq=2 → DUPLICATE
        receive N1 C 5 source=lab at=25 as=lie → SEQUENCE_CONFLICT C
        row C N1 on_hand=56
        receive N1 C 4 source=lab seq=9 → SEQUENCE_MISSING lab
        receive N1 C 4 at=9 seq=0 → SEQUENCE_MISSING wms
    """,
    "a source that has nothing but ids counts each once, and in the order in which they come": """
        hand N1 to=pos → OK
        receive N1 C 5 B 1 source=pos id=D1 → OK
        receive N1 C 5 B 1 source=pos id=D1 → DUPLICATE
        receive N1 C 6 source=pos id=D1 as=lie → SEQUENCE_CONFLICT D1
        count N1 C 20 source=pos id=D3 → OK
        receive N1 C 2 source=pos id=D2 → OK
        count N1 C 20 source=pos id=D3 → DUPLICATE
        row C N1 on_hand=22
        receive N1 X 5 source=pos id=D4 → UNKNOWN_SKU X
        register X seq=50 → OK
        receive N1 X 5 source=pos id=D4 → OK
        count N1 C 20 part=1/1 source=pos id=D5 → SEQUENCE_MISSING pos
    """,
    "a full snapshot is whole once all its parts have come, in whatever order": """
        count N1 A 8 part=3/3 seq=20 → OK
        count N1 A 8 part=3/3 seq=20 → DUPLICATE
        count N1 part=1/3 seq=20 as=1 → OK
        count N1 B 2 part=2/4 seq=20 as=2 → SEQUENCE_CONFLICT E20
        complete N1 seq=21 → DUPLICATE
        count N1 B 2 part=2/3 seq=20 as=2 → OK complete
        count N1 A 8 part=3/3 seq=20 → DUPLICATE complete
        complete N1 seq=20 → OK
        complete N1 seq=20 → DUPLICATE
        count N1 B 2 part=2/3 seq=20 as=2 → DUPLICATE
        row B N1 on_hand=2
    """,
    "what comes late while a full snapshot is being completed was in it, whether it comes before or after": """
        count N1 A 8 part=1/1 seq=20 → OK complete
        receive N1 C 5 seq=18 → OK
        complete N1 seq=20 begun=1 → OK
        receive N1 X 5 seq=17 → UNKNOWN_SKU X
        register X seq=50 → OK
        receive N1 X 5 seq=17 → DUPLICATE
        count N1 A 8 part=1/1 seq=20 → DUPLICATE complete
        complete N1 seq=20 begun=1 → DUPLICATE
        count N1 C 0 seq=20 as= → OK
        row C N1 on_hand=0
        complete N1 seq=20 → OK
        count N1 A 8 part=1/1 seq=20 → DUPLICATE
    """,
    "what a full snapshot left out was 0 then, even if nobody knew it": """
        count N1 A 8 part=1/1 seq=20 → OK complete
        complete N1 seq=20 → OK
        receive N1 C 5 seq=19 → DUPLICATE
        receive N1 C 5 seq=20 → SEQUENCE_CONFLICT C
        count N1 C 0 seq=20 → DUPLICATE
        receive N1 C 5 seq=21 → OK
        count N1 C 0 seq=20 → DUPLICATE
        row C N1 on_hand=5
        count N1 A 9 part=1/2 seq=18 → DUPLICATE
        count N1 A 7 part=2/2 seq=30 → OK
        count N1 C 6 part=1/2 seq=30 as=1 → OK complete
        complete N1 seq=30 → OK
        row C N1 on_hand=6
    """,
    "a count of yesterday is that of its place, and books what had left by then": """
        reserve R1 A 6 → OK 1×6
        confirm R1 → OK 1×6
        tick 1h
        fulfil R1 S1 1 2 → OK 1×2
        tick 24h
        fulfil R1 S2 1 3 → OK 1×3
        receive N1 A 20 seq=40 → OK
        count N1 A 8 seq=30 as_of=-82800000 → OK
        row A N1 on_hand=28 shipped_unbooked=3
        count N1 A 1 seq=29 → DUPLICATE
        ship N1 S2 A 3 of=R1 seq=41 → OK
        row A N1 on_hand=25 shipped_unbooked=0
    """,
    "the catalogue's latest word counts": """
        register A seq=7 safety=1 → OK
        register A seq=6 safety=9 → DUPLICATE
        register A seq=7 safety=1 → DUPLICATE
        register A seq=7 safety=2 as=lie → SEQUENCE_CONFLICT A
        available A N1 9
    """,
    "an item has the names of its latest registration, and two items may claim one": """
        register A alias=X,Y seq=10 details={"category":"tea"} → OK
        register B alias=X seq=11 → OK
        claims X A B
        register A alias=Y,Z seq=12 → OK
        claims X B
        claims Y A
        claims Z A
        register A alias=X seq=11 as=late → DUPLICATE
        claims X B
        register A seq=13 → OK
        claims Y
        claims Z
        reserve R1 A 13 → OK 1×10 2×3
    """,
    "nothing of a blocked item is promised, and what is held stays held": """
        reserve R1 A 2 → OK 1×2
        reserve R2 A 1 ttl=1s → OK 1×1
        state A blocked seq=30 → OK
        available A N1 0
        row A N1 on_hand=10 reserved=3
        reserve R3 A 1 → INSUFFICIENT_STOCK A:1/0
        reserve R3 A 1 B 1 partial=yes → OK A:1/0 1×1
        confirm R1 → OK 1×2
        tick 2s
        confirm R2 reacquire=yes → INSUFFICIENT_STOCK A:1/0
        fulfil R1 S1 → OK 1×2
        receive N1 A 5 → OK
        state A active seq=29 as=late → DUPLICATE
        state A active seq=31 → OK
        confirm R2 reacquire=yes → OK 1×1
        available A N1 12
    """,
    "a discontinued item is sold to the last, its safety stock too": """
        register A seq=30 safety=4 → OK
        available A N1 6
        state A discontinued seq=30 → OK
        available A N1 10
        reserve R1 A 13 → OK 1×10 2×3
        register A seq=31 safety=2 → OK
        available A N1 0
        state A discontinued seq=30 → DUPLICATE
        state A blocked seq=30 as=lie → SEQUENCE_CONFLICT A
        state A X Y blocked → UNKNOWN_SKU X Y
        state A blocked source=wms → NOT_AUTHORITY wms
        state A blocked source=fax → UNKNOWN_SOURCE fax
    """,
    "nothing is promised from a node that is shut, and what is held there stays held": """
        reserve R1 A 2 → OK 1×2
        reserve R2 A 1 ttl=1s → OK 1×1
        node N1 blocked seq=5 → OK
        available A N1 0
        row A N1 on_hand=10 reserved=3
        reserve R3 A 4 → INSUFFICIENT_STOCK A:4/3
        reserve R3 A 3 → OK 1×3
        row A N2 reserved=3
        node N2 closed seq=5 → OK
        confirm R1 → OK 1×2
        tick 2s
        confirm R2 reacquire=yes → INSUFFICIENT_STOCK A:1/0
        receive N1 A 1 → OK
        fulfil R1 S1 → OK 1×2
        node N1 active seq=4 as=late → DUPLICATE
        available A N1 0
        node N1 active seq=5 as=lie → SEQUENCE_CONFLICT N1
        node N1 active seq=6 → OK
        confirm R2 reacquire=yes → OK 1×1
        reserve R4 A 9 → INSUFFICIENT_STOCK A:9/8
        node N2 active seq=6 → OK
        node N8 closed → UNKNOWN_NODE N8
        node N1 closed source=wms → NOT_AUTHORITY wms
        node N1 closed source=fax → UNKNOWN_SOURCE fax
    """,
    "a location makes itself known, and keeps the authorities that it was given": """
        locate N9 store Europe/Rome seq=5 → OK
        locate N9 store Europe/Rome seq=5 → DUPLICATE
        locate N9 kiosk Europe/Rome seq=4 as=late → DUPLICATE
        locate N9 kiosk Europe/Rome seq=5 as=lie → SEQUENCE_CONFLICT N9
        receive N9 A 5 → OK
        row A N9 on_hand=0
        node N9 closed seq=4 → OK
        locate N9 kiosk Europe/Rome seq=6 → OK
        locate N1 dark_store Europe/Paris seq=6 → OK
        receive N1 A 5 → OK
        row A N1 on_hand=15
        locate N1 store Europe/Rome source=wms → NOT_AUTHORITY wms
        locate N1 store Europe/Rome source=fax → UNKNOWN_SOURCE fax
    """,
    "a statement stands where its source's order says, and without one as it came": """
        state A blocked seq=100 source=lab → OK
        state A active seq=99 as=late source=lab → DUPLICATE
        state A active seq=0 source=lab → SEQUENCE_MISSING lab
        register A seq=0 → SEQUENCE_MISSING erp
        register B safety=3 seq=9 source=pos → OK
        available B N1 1
        register B safety=1 seq=8 source=pos → OK
        available B N1 3
        register B safety=3 seq=9 source=pos → DUPLICATE
        register B safety=2 seq=9 as=lie source=pos → SEQUENCE_CONFLICT E9
        available B N1 3
        state B blocked seq=7 source=pos → OK
        state B active seq=6 source=pos → OK
        state B blocked seq=7 source=pos → DUPLICATE
        locate N2 kiosk Europe/Rome seq=5 source=pos → OK
        node N2 closed seq=4 source=pos → OK
        node N2 active seq=3 source=pos → OK
        node N2 closed seq=4 source=pos → DUPLICATE
        available A N2 0
        state A active seq=101 source=lab → OK
        available A N2 3
    """,
    "an event waits until its item is known, by its SKU or by the name that it was given": """
        park X nobody/X → UNKNOWN_SOURCE nobody
        park X nobody/X alias=yes → UNKNOWN_SOURCE nobody
        park X wms/e-X → OK
        raised UNKNOWN_SKU 0
        park X wms/e-X → DUPLICATE
        park Y wms/e-Y alias=yes → OK
        register A alias=Y seq=40 → OK Y
        register A alias=Y seq=40 → DUPLICATE Y
        park Y wms/f-Y alias=yes → SKU_KNOWN
        park Y wms/f-Y → OK
        park A wms/f-A alias=yes → OK
        park A wms/g-A → SKU_KNOWN
        register X Y seq=41 → OK X Y
        unpark Y wms/e-Y → OK
        raised UNKNOWN_SKU 0 resolved
        unpark Y wms/f-Y → OK
        unpark Y wms/f-Y → DUPLICATE
        register Y alias=X seq=42 → OK X
    """,
    "a waiting event is discarded while nobody can have given it its turn, and not after that": """
        park X wms/e-X → OK
        discard X wms/e-X → OK
        raised UNKNOWN_SKU 0 resolved
        discard X wms/e-X → DUPLICATE
        park X wms/f-X → OK
        park Y wms/f-Y alias=yes → OK
        register A alias=X seq=40 → OK X
        discard X wms/f-X → OK
        park X wms/g-X → OK
        register X alias=Y seq=41 → OK X Y
        discard X wms/g-X → SKU_KNOWN
        discard Y wms/f-Y alias=yes → SKU_KNOWN
        unpark X wms/g-X → OK
        discard X wms/g-X → DUPLICATE
        register X seq=42 → OK
        discard Y wms/f-Y alias=yes → OK
    """,
    "a figure past the bound is refused whole": """
        receive N1 A 2147483647 B 1 → QUANTITY_OUT_OF_RANGE A
        count N1 A 2147483647 → OK
        receive N1 A 1 → QUANTITY_OUT_OF_RANGE A
        row B N1 on_hand=4
    """,
    "an old or future UUIDv7 is refused when nobody knows it": """
        reserve 01890a5d-ac96-774b-bcce-b302099a8057 A 1 → RESERVATION_ID_STALE
        reserve ffffffff-ac96-774b-bcce-b302099a8057 A 1 → RESERVATION_ID_STALE
        reserve 01890a5d-ac96-474b-bcce-b302099a8057 A 1 → OK 1×1
    """,
}
SCENARIOS |= REPAIRS

#: Bounds low enough to be met in a few steps.
LOW_BOUNDS = {
    "WINDOW_DELTAS_MAX": 2,
    "BOOKINGS_MAX": 2,
    "LEDGER_BACKLOG_MAX": 12,
    "LEDGER_KEPT_MIN": 2,
    "OPERATIONS_FOR_ANY": 2,
    "ORDER_RESERVATIONS_MAX": 2,
    "SCRIPT_ROWS_MAX": 4,
    "REAP_ROWS_MAX": 2,
    "SETTLED_LINES_MAX": 1,
}

AT_THE_BOUNDS = ORDERS_AT_THE_BOUNDS | {
    "below the window there is no guess, until a snapshot says what is there": """
        receive N1 C 1 seq=20 → OK
        receive N1 C 1 seq=22 → OK
        receive N1 C 1 seq=24 → OK
        receive N1 C 1 seq=20 → SEQUENCE_BELOW_WINDOW C
        receive N1 C 1 seq=19 → SEQUENCE_BELOW_WINDOW C
        count N1 C 5 seq=19 → SEQUENCE_BELOW_WINDOW C
        receive N1 C 1 seq=21 → OK
        row C N1 on_hand=4
        count N1 C 9 seq=23 → OK
        row C N1 on_hand=10
        receive N1 C 1 seq=19 → DUPLICATE
    """,
    "a full backlog refuses new holds and nothing else": """
        reserve R1 A 1 → OK 1×1
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        reserve R2 A 1 → LEDGER_BACKLOG
        reserve R1 A 1 → OK 1×1 replayed
        confirm R1 → OK 1×1
        receive N1 A 1 → OK
        published
        reserve R2 A 1 → OK 1×1
    """,
    "results are kept, never evicted: confirm and a whole release always have a place": """
        reserve R1 A 5 → OK 1×5
        extend R1 ttl=20m → OK
        release R1 1 1 → OK 1×1
        extend R1 ttl=30m → OPERATIONS_FULL
        release R1 1 1 → OPERATIONS_FULL
        confirm R1 → OK 1×4
        release R1 → OK 1×4
    """,
    "an order has a bounded number of reservations": """
        reserve R1 A 1 order=O1 → OK 1×1
        reserve R2 A 1 order=O1 → OK 1×1
        reserve R3 A 1 order=O1 → ORDER_FULL
        reserve R3 A 1 order=O2 → OK 1×1
    """,
    "lines times nodes are bounded": """
        reserve R1 A 1 B 1 C 1 → TOO_MANY_ROWS
        reserve R1 A 1 B 1 C 1 nodes=N1 → INSUFFICIENT_STOCK C:1/0
    """,
    "more due holds than a call may give back: it goes on until none is left": """
        reserve R1 A 1 B 1 ttl=1s nodes=N1 → OK 1×1 2×1
        reserve R2 A 1 B 1 ttl=1s nodes=N1 → OK 1×1 2×1
        reserve R3 A 1 B 1 ttl=1s nodes=N1 → OK 1×1 2×1
        tick 1s
        reserve R4 A 13 → OK 1×10 2×3
    """,
    "a snapshot books so many shipments and leaves the others to the next": """
        reserve R1 A 3 → OK 1×3
        confirm R1 → OK 1×3
        fulfil R1 S1 1 1 → OK 1×1
        fulfil R1 S2 1 1 → OK 1×1
        fulfil R1 S3 1 1 → OK 1×1
        count N1 A 7 → OK
        row A N1 on_hand=7 shipped_unbooked=1
        count N1 A 7 → OK
        row A N1 on_hand=7 shipped_unbooked=0
    """,
    "a registration that is more than an entry may hold goes into several": """
        register A B C alias=WAIT,OTHER seq=30 → OK
        claims OTHER A B C
        register A B C seq=31 details={"category":"a-category-with-a-long-name"} → OK
        claims OTHER
    """,
    "whoever comes second does not open the pool again": """
        open epoch=0 → DUPLICATE
        reserve R1 A 1 → OK 1×1
        open epoch=1 → OK
        open epoch=1 → DUPLICATE
        confirm R1 → OK 1×1
    """,
}

#: An entry that few lines fill.
SMALL_ENTRIES = {"LEDGER_ENTRY_BYTES_MAX": 1_100, "ENTRY_HEAD_BYTES": 0}
LONG = "A-SKU-WITH-A-NAME-SO-LONG-THAT-IT-FILLS-THE-LEDGER-ENTRY-"

IN_SMALL_ENTRIES = ORDERS_IN_SMALL_ENTRIES | {
    "a hold whose ledger entry would be too large is refused before it is written": f"""
        register {LONG}1 {LONG}2 {LONG}3 {LONG}4 → OK
        receive N1 {LONG}1 1 → OK
        receive N1 {LONG}2 1 → OK
        receive N1 {LONG}3 1 → OK
        receive N1 {LONG}4 1 → OK
        reserve R1 {LONG}1 1 {LONG}2 1 {LONG}3 1 {LONG}4 1 nodes=N1 → TOO_MANY_ROWS
        reserve R1 {LONG}1 1 {LONG}2 1 {LONG}3 1 A 1 nodes=N1 → OK 1×1 2×1 3×1 4×1
    """,
    "an event whose ledger entry could be too large is refused before it is written": f"""
        register {LONG}1 {LONG}2 → OK
        receive N1 {LONG}1 1 {LONG}2 1 → TOO_MANY_ROWS
        receive N1 A 1 B 1 seq=20 → OK
        count N1 A 1 B 1 C 1 → TOO_MANY_ROWS
        ship N1 S1 A 1 B 1 C 1 seq=21 → TOO_MANY_ROWS
        ship N1 S1 A 1 B 1 C 1 source=erp seq=22 → TOO_MANY_ROWS
        count N1 A 1 B 1 seq=20 as=lie → SEQUENCE_CONFLICT A B
        receive N1 A 1 B 1 seq=20 → DUPLICATE
    """,
    "a snapshot books no more shipments than its ledger entry holds": """
        reserve R1 A 7 → OK 1×7
        confirm R1 → OK 1×7
        fulfil R1 S1 1 1 → OK 1×1
        fulfil R1 S2 1 1 → OK 1×1
        fulfil R1 S3 1 1 → OK 1×1
        fulfil R1 S4 1 1 → OK 1×1
        fulfil R1 S5 1 1 → OK 1×1
        fulfil R1 S6 1 1 → OK 1×1
        fulfil R1 S7 1 1 → OK 1×1
        count N1 A 3 → OK
        row A N1 shipped_unbooked=1
        count N1 A 3 → OK
        row A N1 shipped_unbooked=0
    """,
}

ALL: dict[str, tuple[str, dict[str, Any]]] = {
    title: (STOCK + steps, bounds)
    for table, bounds in ((SCENARIOS, {}), (REPAIRS_OF_COUNTERS, {}), (AT_THE_BOUNDS, LOW_BOUNDS), (IN_SMALL_ENTRIES, SMALL_ENTRIES))
    for title, steps in table.items()
}
